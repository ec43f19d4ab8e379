"""Pictures: decoded, made small, searched for text, blanked. Needs the extra `pixels`; its libraries only here."""
