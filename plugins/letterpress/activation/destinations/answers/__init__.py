"""What the answers of vendors mean, where reading them takes a module of its own."""
