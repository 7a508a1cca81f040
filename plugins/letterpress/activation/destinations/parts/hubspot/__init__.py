"""The parts of HubSpot's module: records and refusals, properties, consent."""
