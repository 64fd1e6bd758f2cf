#!/bin/sh
# Made the certificates beside it, with OpenSSL 3: good for 100 years, for tests on this machine alone.
set -e
cd "$(dirname "$0")"
new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }
issue() { # name, subject alternative names, further arguments
	name=$1 hosts=$2
	shift 2
	printf 'subjectAltName=%s\n' "$hosts" > extensions.tmp
	openssl req -new -key server.key -subj "/CN=$name" -out request.tmp
	openssl x509 -req -in request.tmp -CA authority.pem -CAkey authority.key -CAcreateserial \
		-CAserial serial.tmp -extfile extensions.tmp -out "$name.pem" "$@" 2> /dev/null
}
new_key authority.key
new_key server.key
openssl req -x509 -new -key authority.key -days 36500 -subj "/CN=merge-delta tests" \
	-addext basicConstraints=critical,CA:TRUE -out authority.pem
issue good DNS:localhost,IP:127.0.0.1 -days 36500
issue other-host DNS:other.example -days 36500
issue expired DNS:localhost,IP:127.0.0.1 -days 0
openssl req -x509 -new -key server.key -days 36500 -subj "/CN=self-signed" \
	-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -out self-signed.pem
rm -f ./*.tmp authority.key
