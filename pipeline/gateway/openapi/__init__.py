"""The gateway's own description: an OpenAPI document of the routes, the models and some tables, and a page of it."""
