"""The engine process as the plugin sees it: one client, worker threads, trainings."""
