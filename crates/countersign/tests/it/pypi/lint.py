"""pkilint over files in DER: each argument is KIND=PATH, or chain=ISSUER,SUBJECT. Each finding is one line of JSON on standard output."""

import json
import sys

from pkilint import loader, pkix
from pkilint.bin import lint_pkix_signer_signee_cert_chain as chain_linter
from pkilint.pkix import certificate, crl, extension, name, ocsp

DECODERS = [
    pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
    pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
]


def certificates():
    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        ),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


def lists():
    return crl.create_pkix_crl_validator_container(
        DECODERS,
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )


def answers():
    return ocsp.create_pkix_ocsp_response_validator_container(
        [ocsp.create_response_decoder(), *DECODERS], []
    )


KINDS = {
    "certificate": (loader.RFC5280CertificateDocumentLoader(), certificates()),
    "crl": (loader.RFC5280CertificateListDocumentLoader(), lists()),
    "ocsp": (loader.RFC6960OCSPResponseDocumentLoader(), answers()),
}


def load(kind, path, label=None, collection=None):
    with open(path, "rb") as file:
        return KINDS[kind][0].load_der_document(
            file.read(), path, label, collection
        )


def chain(issuer, subject):
    """Names, key identifiers and the signature between an issuer and what it issued."""
    collection = {}
    issuer = load("certificate", issuer, "issuer", collection)
    collection["issuer"] = issuer
    subject = load("certificate", subject, "subject", collection)
    collection["subject"] = subject
    decoding = chain_linter.create_decoder_validation_container()
    results = decoding.validate(issuer.root) + decoding.validate(subject.root)
    results += chain_linter.create_issuer_validation_container().validate(issuer.root)
    results += chain_linter.create_subject_validation_container().validate(
        subject.root
    )
    return results


def results(kind, paths):
    if kind == "chain":
        return chain(*paths.split(","))
    return KINDS[kind][1].validate(load(kind, paths).root)


for argument in sys.argv[1:]:
    kind, paths = argument.split("=", 1)
    for result in results(kind, paths):
        for finding in result.finding_descriptions:
            told = {
                "file": paths,
                "severity": finding.finding.severity.name,
                "code": finding.finding.code,
                "node": result.node.path,
                "message": finding.message or "",
            }
            print(json.dumps(told))
