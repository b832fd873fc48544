"""What every room uses: errors, atomic files, hashing, names, seeds, logging. Imports nothing of ours."""
