# shellcheck shell=bash
# Server certificates and their keys.

# given_pair FOLDER: writes the pair of the parameters there, and the CA if one is given, as NAME.new.
given_pair() {
  base64 -d <<< "$SERVER_CERTIFICATE" > "$1/server.crt.new"
  base64 -d <<< "$SERVER_CERTIFICATE_KEY" > "$1/server.key.new"
  [[ -z $CA_CERTIFICATE ]] || base64 -d <<< "$CA_CERTIFICATE" > "$1/ca.crt.new"
} 2> /dev/null

# rejection_reason FOLDER: prints why the pair in server.crt.new and server.key.new there cannot be used; nothing when it can.
rejection_reason() {
  local crt=$1/server.crt.new key=$1/server.key.new
  if [[ ! -e $crt || ! -e $key ]]; then
    echo "server.crt or server.key is missing"
  elif ! openssl x509 -in "$crt" -noout 2> /dev/null; then
    echo "server.crt is not a PEM certificate"
  elif ! openssl crl2pkcs7 -nocrl -certfile "$crt" > /dev/null 2>&1; then
    echo "server.crt has a broken certificate in its chain"
  elif ! openssl pkey -in "$key" -passin pass: -noout 2> /dev/null; then
    echo "server.key is not an unencrypted PEM private key"
  elif [[ $(openssl x509 -in "$crt" -noout -pubkey) != "$(openssl pkey -in "$key" -pubout)" ]]; then
    echo "server.crt and server.key do not belong together"
  elif ! openssl x509 -in "$crt" -noout -checkend 0 > /dev/null \
    && openssl x509 -in "$STATE/tls/server.crt" -noout -checkend 0 > /dev/null 2>&1; then
    echo "server.crt has expired, and the one in service has not"
  elif [[ -e $1/ca.crt.new ]] && ! openssl verify -partial_chain -no_check_time -CAfile "$1/ca.crt.new" -untrusted "$crt" "$crt" > /dev/null 2>&1; then
    echo "ca.crt has not signed server.crt"
  fi
}

# <group>
# issued_by_given_ca: whether the parameters bring a CA with its key, and no pair, which would count instead.
issued_by_given_ca() { [[ -n $CA_CERTIFICATE_KEY && -z $SERVER_CERTIFICATE$SERVER_CERTIFICATE_KEY ]]; }

# given_ca FOLDER: writes the CA of the parameters there, as NAME.new.
given_ca() {
  base64 -d <<< "$CA_CERTIFICATE" > "$1/ca.crt.new" && base64 -d <<< "$CA_CERTIFICATE_KEY" > "$1/ca.key.new"
} 2> /dev/null

# check_given_ca: fails if it cannot issue a certificate.
check_given_ca() {
  local crt key reason='' folder
  folder=$(mktemp -d)
  crt=$folder/ca.crt.new key=$folder/ca.key.new
  if ! given_ca "$folder" || ! openssl x509 -in "$crt" -noout 2> /dev/null; then
    reason="ca_certificate is not a PEM certificate"
  elif ! openssl pkey -in "$key" -passin pass: -noout 2> /dev/null; then
    reason="ca_certificate_key is not an unencrypted PEM private key"
  elif [[ $(openssl x509 -in "$crt" -noout -pubkey) != "$(openssl pkey -in "$key" -pubout)" ]]; then
    reason="ca_certificate and ca_certificate_key do not belong together"
  elif [[ $(openssl x509 -in "$crt" -noout -ext basicConstraints 2> /dev/null) != *CA:TRUE* ]]; then
    reason="ca_certificate is not that of a CA"
  fi
  rm -rf "$folder"
  [[ -z $reason ]] || fail "$reason"
}
# </group>
