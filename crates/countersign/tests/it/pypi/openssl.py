"""What today's OpenSSL, which the wheel of `cryptography` brings along, says of certificates, requests and servers.

    get ADDRESS PORT CERTIFICATE KEY CA     one GET as a client in TLS 1.3: version, the server's key, the status line
    request KIND KEY CSR                    makes a key (44, 65, 87) and a request with a subject of its own
    verify CA CRLS CERTIFICATE              the chain, strictly, with the lists of its whole length
"""

import socket
import sys

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

PEM = serialization.Encoding.PEM


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def get(address, port, certificate, key, ca):
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.load_verify_locations(ca)
    context.set_verify(SSL.VERIFY_PEER, lambda *told: bool(told[-1]))
    context.use_certificate_chain_file(certificate)
    context.use_privatekey_file(key)
    raw = socket.create_connection((address, int(port)), timeout=30)
    raw.settimeout(None)
    connection = SSL.Connection(context, raw)
    connection.set_tlsext_host_name(b"localhost")
    connection.set_connect_state()
    connection.do_handshake()
    connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = connection.recv(4096)
    server = connection.get_peer_certificate(as_cryptography=True)
    print(connection.get_protocol_version_name())
    print(type(server.public_key()).__name__)
    print(answer.split(b"\r\n")[0].decode())


def request(kind, key, csr):
    private = getattr(mldsa, f"MLDSA{kind}PrivateKey").generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ignored")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    write(csr, builder.sign(private, None).public_bytes(PEM))
    form = serialization.PrivateFormat.PKCS8
    write(key, private.private_bytes(PEM, form, serialization.NoEncryption()))


def verify(ca, crls, certificate):
    store = crypto.X509Store()
    store.add_cert(crypto.load_certificate(crypto.FILETYPE_PEM, read(ca)))
    store.set_flags(
        crypto.X509StoreFlags.X509_STRICT
        | crypto.X509StoreFlags.CRL_CHECK
        | crypto.X509StoreFlags.CRL_CHECK_ALL
    )
    end = b"-----END X509 CRL-----\n"
    for block in read(crls).split(end)[:-1]:
        store.add_crl(x509.load_pem_x509_crl(block + end))
    leaf, *above = x509.load_pem_x509_certificates(read(certificate))
    chain = [crypto.X509.from_cryptography(one) for one in above]
    leaf = crypto.X509.from_cryptography(leaf)
    try:
        crypto.X509StoreContext(store, leaf, chain).verify_certificate()
    except crypto.X509StoreContextError as refused:
        print(refused)
        sys.exit(1)
    print("verified")


{"get": get, "request": request, "verify": verify}[sys.argv[1]](*sys.argv[2:])
