"""``effectmq dashboard``: the pages, over a broker or over a small world in this process."""
