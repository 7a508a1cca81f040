"""The parts of HubSpot's stand-in: bodies, properties, contacts, and the handlers of requests."""
