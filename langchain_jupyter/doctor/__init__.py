"""What is wrong with an installation, its kernels and its servers, and how to mend it."""
