"""Many effects at once: taken from an iterable as there is room, and given back one by one."""
