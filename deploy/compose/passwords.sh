# A password for each role, made once. Those who read them are root, policyd (8085), postgres (999) and grafana (472).
set -eu
umask 077
for name in postgres policyd grafana; do
  file=/secrets/$name
  [ -s "$file" ] || head -c 24 /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_' > "$file"
done
chown 999 /secrets/postgres
chown 8085 /secrets/policyd
chown 472 /secrets/grafana
chmod 0755 /secrets
