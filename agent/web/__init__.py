"""What our web servers have in common: a thread to serve in, strangers kept short, pictures that come in."""
