"""What we are measured against, in our own words; a folder per rival that needs packages of its own."""
