#!/bin/sh
# Write Alertmanager's configuration with the webhooks of the environment, then start it.
#   ALERT_WEBHOOK_URL     where alerts are posted; empty: nowhere
#   WATCHDOG_WEBHOOK_URL  where the always-firing Watchdog is posted; empty: nowhere
# ALERTMANAGER_TEMPLATE, ALERTMANAGER_RENDERED and ALERTMANAGER_BINARY name other files in tests.
set -eu

webhook() {
  case "$1" in
    '') return ;;
    *[\'\\\ ]*) echo "alertmanager-start: a webhook URL holds a quote, a backslash or a blank" >&2
                exit 2 ;;
  esac
  printf "    webhook_configs:\n      - url: '%s'\n" "$1"
}

while IFS= read -r line; do
  printf '%s\n' "$line"
  case "$line" in
    '  - name: operator') webhook "${ALERT_WEBHOOK_URL:-}" ;;
    '  - name: watchdog') webhook "${WATCHDOG_WEBHOOK_URL:-}" ;;
  esac
done < "${ALERTMANAGER_TEMPLATE:-/etc/alertmanager/alertmanager.yml}" \
     > "${ALERTMANAGER_RENDERED:-/tmp/alertmanager.yml}"

exec "${ALERTMANAGER_BINARY:-/bin/alertmanager}" "$@"
