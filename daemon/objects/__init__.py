"""The data of the API: plain frozen structs and pure functions. The only place with camelCase on the wire."""
