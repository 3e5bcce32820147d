"""Who calls: identities, admin keys, the Authorization header."""
