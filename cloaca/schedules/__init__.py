"""When a schedule fires: cron expressions, time zones, catch-up. Pure: the time comes in as an argument."""
