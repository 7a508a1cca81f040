"""What the embedded default runs against: a demo shop and a local e-mail service provider."""
