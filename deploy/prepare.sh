#!/bin/sh
# Lays out what compose.yaml mounts: config/ from the repository's with the addresses of the compose file, and secrets/ with
# token, passwords and certificates, each file for the one user who reads it. As root: sudo deploy/prepare.sh
# Again: new certificates; config/, token and passwords stay as they are. 生成 compose.yaml 所需的 config/ 与 secrets/。
set -eu
umask 022
cd "$(dirname "$0")"
services=1000 servers=999 # users of the image; of Redis's and PostgreSQL's images

if [ ! -e config ]; then
    cp -R ../config config
    cat > config/hosts.yaml <<END
gateway: 172.30.0.12
market: 172.30.0.13
trading: 172.30.0.14
strategy: 172.30.0.15
token_file: /secrets/token
tls: {certificate: /secrets/host.pem, key: /secrets/host.key, ca: /secrets/ca.pem}
END
    cat > config/redis_config.yaml <<END
embedded: false
host: 172.30.0.10
port: 6379
password: \${file:/secrets/redis_password}
tls: true
ca: /secrets/ca.pem
END
    sed -e 's|^database: .*|database: postgresql://arbig@172.30.0.11/arbig?sslmode=verify-full\&sslrootcert=/secrets/ca.pem|' \
        -e 's|^database_password_file: .*|database_password_file: /secrets/database_password|' \
        ../config/arbig.yaml > config/arbig.yaml
fi

mkdir -p secrets
cd secrets
umask 077
for word in token redis_password database_password; do
    [ -s $word ] || openssl rand -hex 24 > $word
done
cat > redis.conf <<END
port 0
tls-port 6379
tls-cert-file /secrets/server.pem
tls-key-file /secrets/server.key
tls-auth-clients no
requirepass $(cat redis_password)
appendonly yes
appendfsync always
maxmemory-policy noeviction
save ""
END

curve="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
openssl req -x509 $curve -days 825 -subj "/CN=ARBIG authority" -keyout ca.key -out ca.pem
certificate() { # NAME ADDRESS...
    name=$1 && shift
    openssl req $curve -subj "/CN=$name" -keyout "$name.key" -out "$name.csr"
    echo "subjectAltName=$(printf ',IP:%s' "$@" | cut -c2-)" > "$name.names"
    openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" -days 825 \
        -extfile "$name.names" -out "$name.pem"
    rm "$name.csr" "$name.names"
}
certificate server 172.30.0.10 172.30.0.11
certificate host 172.30.0.12 172.30.0.13 172.30.0.14 172.30.0.15
rm ca.key # nobody signs a certificate with it later: the next run makes another

chmod 755 .
chmod 644 ./*.pem
chown -R $services ../config
chown $services token redis_password database_password host.key
chown $servers redis.conf server.key
