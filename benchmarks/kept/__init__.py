"""What is kept of a run: its figures with machine and versions, and the table and plots of them."""
