"""When people read, and at which hour of their day a mail is best delivered."""
