"""The command `serverless-mp`: runs programs, shows settings."""
