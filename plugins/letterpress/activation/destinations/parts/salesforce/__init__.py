"""The parts of Salesforce Marketing Cloud: signing requests, reading data extensions, explaining refusals."""
