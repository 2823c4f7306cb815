"""Large bodies pass unchanged, in bounded memory."""
