"""Writes the keys and tokens of this folder with OpenSSL 3, for tests and benchmarks only.

    python3 tests/keys/generate.py

NAME.der is a private key (RSA: PKCS #1, the others: PKCS #8); jwks.json has the public half of
each; NAME.jwt is a token that OpenSSL signed, so that no test trusts one implementation with both
sides. Nobody may use these keys for anything else: they are public.
"""

import base64
import json
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CLAIMS = {"sub": "7", "iat": 1800000000, "exp": 1800003600}


def openssl(*arguments, data=b""):
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def rsa():
    pem = openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
    modulus = openssl("rsa", "-noout", "-modulus", data=pem).decode().strip().partition("=")[2]
    public = {"kty": "RSA", "alg": "RS256", "use": "sig", "e": "AQAB",
              "n": base64url(bytes.fromhex(modulus))}
    return pem, openssl("rsa", "-traditional", "-outform", "DER", data=pem), public


def curve(*arguments, jwk, last):
    pem = openssl("genpkey", *arguments)
    spki = openssl("pkey", "-pubout", "-outform", "DER", data=pem)[-last:]
    half = spki[:32], spki[32:]
    public = jwk | {"x": base64url(half[0])} | ({"y": base64url(half[1])} if half[1] else {})
    return pem, openssl("pkcs8", "-topk8", "-nocrypt", "-outform", "DER", data=pem), public


def from_der(signature):
    """ECDSA's two numbers, 32 bytes each (RFC 7518, section 3.4), from ASN.1."""
    first = signature[4:4 + signature[3]]
    second = signature[6 + len(first):]
    return b"".join(it.lstrip(b"\0").rjust(32, b"\0") for it in (first, second))


def signed(pem, message, algorithm):
    with tempfile.TemporaryDirectory() as folder:
        key, text = pathlib.Path(folder) / "key", pathlib.Path(folder) / "text"
        key.write_bytes(pem)
        text.write_bytes(message)
        hashing = [] if algorithm == "EdDSA" else ["-digest", "sha256"]
        raw = ["-rawin", *hashing, "-inkey", str(key), "-in", str(text)]
        signature = openssl("pkeyutl", "-sign", *raw)
    return from_der(signature) if algorithm == "ES256" else signature


def main():
    ec = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig"}
    ed = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig"}
    made = {
        "rsa": rsa(),
        "ec": curve("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", jwk=ec, last=64),
        "ed": curve("-algorithm", "ED25519", jwk=ed, last=32),
        "next": curve("-algorithm", "ED25519", jwk=ed, last=32),
    }
    keys = []
    for name, (pem, der, public) in made.items():
        keys.append({"kid": name} | public)
        (HERE / f"{name}.der").write_bytes(der)
        header = {"alg": public["alg"], "typ": "JWT", "kid": name}
        parts = [base64url(json.dumps(part).encode()) for part in (header, CLAIMS)]
        message = ".".join(parts).encode()
        token = f"{message.decode()}.{base64url(signed(pem, message, public['alg']))}\n"
        (HERE / f"{name}.jwt").write_text(token)
    (HERE / "jwks.json").write_text(json.dumps({"keys": keys}, indent=2) + "\n")


main()
