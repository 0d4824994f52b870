#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.9"
# dependencies = ["click>=8,<9", "requests>=2.31,<3"]
# ///
"""Sends a notification to a channel.

Where to is the host's business, not the caller's: a runner that allows the
variable NOTIFICATION_WEBHOOK sends there. Without it the message goes to stderr.
"""

import json
import os
import sys

import click
import requests

PATIENCE_S = 10


def deliver(notification):
    webhook = os.environ.get("NOTIFICATION_WEBHOOK")
    if not webhook:
        print("[{channel}, {priority}] {message}".format(**notification), file=sys.stderr)
        return
    try:
        requests.post(webhook, json=notification, timeout=PATIENCE_S).raise_for_status()
    except requests.RequestException as problem:
        raise click.ClickException(f"the webhook did not take the notification: {problem}")


@click.command()
@click.option("--message", required=True)
@click.option("--channel", required=True, type=click.Choice(["slack", "email", "sms"]))
@click.option("--priority", default="normal", type=click.Choice(["low", "normal", "high"]))
def main(message, channel, priority):
    deliver({"message": message, "channel": channel, "priority": priority})
    print(json.dumps({"sent": True, "channel": channel, "priority": priority}))


if __name__ == "__main__":
    main()
