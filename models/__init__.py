"""What runs on the GPU, and the words of the request and the result."""
