"""The demo project as tests look into it: settings, an application and an agent of their own."""
