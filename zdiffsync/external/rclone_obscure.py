"""rclone's "obscured" form of a password, the only one its configuration takes.

Between the derived keys and the environment of rclone. The form is AES-256-CTR under a key that every
rclone has: it hides from a glance and protects from nobody. `rclone obscure` would do the same, in a
process for each password. Rule: what comes out is handed to our children and is treated as the secret.
"""

import base64
import os

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

# Public and fixed: with another one no rclone could read the rclone.conf of its users.
_KEY = bytes.fromhex("9c935b48730a554d6bfd7c63c886a92bd390198eb8128afbf4de162b8b95f638")
_BLOCK = 16


def obscure(password: str) -> str:
    """Return `password` as rclone's configuration wants it; different each time."""
    start = os.urandom(_BLOCK)
    hidden = Cipher(algorithms.AES(_KEY), modes.CTR(start)).encryptor().update(password.encode())
    return base64.urlsafe_b64encode(start + hidden).rstrip(b"=").decode()
