"""Certificates made on the spot: authorities and what they sign, by the `openssl` command, each when first asked for, gone with the process."""
import atexit
import datetime
import functools
import hashlib
import os
import shutil
import ssl
import tempfile

from props import run

NAME = "scene.test"


class Certificate:
    """Paths of a chain and its key, and what is in the chain's first certificate."""

    def __init__(self, chain, key):
        self.chain, self.key = chain, key

    @property
    def yaml(self):
        return f"{{ chain: {self.chain}, key: {self.key} }}"

    @functools.cached_property
    def der(self):
        with open(self.chain) as file:
            text = file.read()
        return ssl.PEM_cert_to_DER_cert(text[:text.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n")

    @property
    def fingerprint(self):
        return hashlib.sha256(self.der).hexdigest()


class Authority:
    """Signs certificates of any dates, kind and use; its own certificate comes from another one, or from itself."""

    CONFIG = """
[ca]
default_ca = here
[here]
database = {folder}/index.txt
new_certs_dir = {folder}
certificate = {folder}/ca.crt
private_key = {folder}/ca.key
default_md = sha256
policy = any
rand_serial = yes
unique_subject = no
[any]
organizationName = optional
commonName = optional
[req]
distinguished_name = nothing
[nothing]
"""

    def __init__(self, folder, name, parent=None):
        self.folder, self.parent, self.made = os.path.join(folder, name.replace(" ", "-")), parent, 0
        os.mkdir(self.folder)
        self.config = os.path.join(self.folder, "ca.conf")
        with open(self.config, "w") as file:
            file.write(self.CONFIG.format(folder=self.folder))
        open(os.path.join(self.folder, "index.txt"), "w").close()
        self.path, self.key = os.path.join(self.folder, "ca.crt"), os.path.join(self.folder, "ca.key")
        if parent:
            made = parent.issue(name, usage=None, extensions=["basicConstraints = critical, CA:TRUE, pathlen:0", "keyUsage = critical, keyCertSign, cRLSign"])
            shutil.copy(made.chain, self.path)
            shutil.copy(made.key, self.key)
        else:
            openssl("req", "-x509", "-config", self.config, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650", "-subj", f"/CN={name}",
                    "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-addext", "subjectKeyIdentifier=hash",
                    "-keyout", self.key, "-out", self.path)

    def issue(self, name, *names, kind="ecdsa", days=(-1, 365), usage="serverAuth", subject=None, extensions=(), whole_chain=False):
        """names: DNS names, or IP:address; days: from and until, counted from now; whole_chain: this authority's own certificate follows."""
        self.made += 1
        base = os.path.join(self.folder, f"{self.made}")
        chain, key, request, more = base + ".crt", base + ".key", base + ".csr", base + ".ext"
        words = {"ecdsa": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), "p384": ("ec", "-pkeyopt", "ec_paramgen_curve:P-384"), "rsa": ("rsa:2048",)}[kind]
        openssl("req", "-config", self.config, "-newkey", *words, "-nodes", "-subj", subject or f"/CN={name}", "-keyout", key, "-out", request)
        os.chmod(key, 0o600)
        lines = list(extensions)
        if usage:
            lines += ["basicConstraints = critical, CA:FALSE", "keyUsage = critical, digitalSignature", f"extendedKeyUsage = {usage}"]
        lines += ["subjectKeyIdentifier = hash", "authorityKeyIdentifier = keyid"]
        if names:
            lines.append("subjectAltName = " + ", ".join(n if n.startswith("IP:") else "DNS:" + n for n in names))
        with open(more, "w") as file:
            file.write("\n".join(lines) + "\n")
        start, end = ((datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=d)).strftime("%Y%m%d%H%M%SZ") for d in days)
        openssl("ca", "-config", self.config, "-batch", "-notext", "-in", request, "-out", chain, "-startdate", start, "-enddate", end, "-extfile", more)
        if whole_chain:
            with open(chain, "a") as file, open(self.path) as own:
                file.write(own.read())
        return Certificate(chain, key)

    def vouch(self, certificate):
        """An OCSP response in a file: the certificate is good."""
        path = certificate.chain + ".ocsp"
        openssl("ocsp", "-index", os.path.join(self.folder, "index.txt"), "-CA", self.path, "-rsigner", self.path, "-rkey", self.key, "-issuer", self.path,
                "-cert", certificate.chain, "-respout", path, "-ndays", "7")
        return path


def openssl(*words):
    code, out, errors = run("openssl", *words)
    assert code == 0, (words, errors.decode())
    return out


class Drawer:
    """All authorities and certificates of the scenes, each made when it is first taken out."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="weir-certificates-")
        atexit.register(shutil.rmtree, self.folder, True)

    ca = functools.cached_property(lambda self: Authority(self.folder, "Scene CA"))
    strangers = functools.cached_property(lambda self: Authority(self.folder, "Strange CA"))
    between = functools.cached_property(lambda self: Authority(self.folder, "Scene Intermediate", self.ca))

    site = functools.cached_property(lambda self: self.ca.issue(NAME, NAME, "IP:127.0.0.1"))
    site_rsa = functools.cached_property(lambda self: self.ca.issue(NAME, NAME, kind="rsa"))
    site_renewed = functools.cached_property(lambda self: self.ca.issue(NAME, NAME))
    site_chain = functools.cached_property(lambda self: self.between.issue(NAME, NAME, whole_chain=True))
    other = functools.cached_property(lambda self: self.ca.issue("other.test", "other.test", "second.test"))
    wild = functools.cached_property(lambda self: self.ca.issue("*.wild.test", "*.wild.test"))
    expired = functools.cached_property(lambda self: self.ca.issue(NAME, NAME, days=(-20, -3)))
    soon = functools.cached_property(lambda self: self.ca.issue("soon.test", "soon.test", days=(-20, 9.5)))
    client = functools.cached_property(lambda self: self.ca.issue("ann", usage="clientAuth", subject="/O=Scene Works/CN=ann"))
    client_rsa = functools.cached_property(lambda self: self.ca.issue("bob", usage="clientAuth", kind="rsa"))
    client_expired = functools.cached_property(lambda self: self.ca.issue("old", usage="clientAuth", days=(-20, -3)))
    client_strange = functools.cached_property(lambda self: self.strangers.issue("eve", usage="clientAuth"))
    origin = functools.cached_property(lambda self: self.ca.issue("origin.test", "origin.test", "*.origins.test", "IP:127.0.0.1"))
    origin_strange = functools.cached_property(lambda self: self.strangers.issue("origin.test", "origin.test"))
    origin_expired = functools.cached_property(lambda self: self.ca.issue("origin.test", "origin.test", days=(-20, -3)))
    origin_early = functools.cached_property(lambda self: self.ca.issue("origin.test", "origin.test", days=(3, 20)))


certificates = functools.cache(Drawer)
