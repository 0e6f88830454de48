"""Where networks come from: libraries that name them, hubs, files of regard and of others, modules of the user."""
