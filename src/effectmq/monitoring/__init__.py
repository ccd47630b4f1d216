"""What a process tells of itself over HTTP and to collectors: metrics and health."""
