"""The kill-switch drill: real processes under load, a real Redis, and what breaks between them."""
