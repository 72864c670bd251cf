"""A search on a cluster seen from elsewhere: submitted jobs, the process that watches over one, the tracking server."""
