"""What Camber is measured by: against PocketBase, against what the machine allows, against itself."""
