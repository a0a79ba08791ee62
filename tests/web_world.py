"""What is looked at in the browser: hostile names, a file with versions, one that was deleted."""

import os

HOSTILE = {
    "<img src=x onerror=alert(1)>.txt": b"angle brackets",
    '"><svg onload=alert(2)>': b"quotes",
    "two\nlines": b"a newline",
    "{{ 7 * 7 }}&amp;#?%41": b"what templates and addresses could mistake",
    os.fsdecode(b"latin-\xe9\xff"): b"no UTF-8",
    "\u202egnp.exe": b"turned around",
}
PAGE = b"<script>document.title = 'run'</script>"


def make_points(world):
    """Make a base and two increments in an empty world."""
    tree = world.tree
    for folder in ("docs/deep", "odd"):
        (tree / folder).mkdir(parents=True)
    (tree / "docs/letter.txt").write_bytes(b"dear all\n")
    (tree / "docs/plan.txt").write_bytes(b"a plan\n")
    (tree / "docs/page.html").write_bytes(PAGE)
    (tree / "docs/large").write_bytes(os.urandom(3 << 20))
    os.link(tree / "docs/letter.txt", tree / "docs/deep/same.txt")
    (tree / "link").symlink_to("docs/<b>letter")
    for name, data in HOSTILE.items():
        (tree / "odd" / name).write_bytes(data)
    world.base()
    (tree / "docs/letter.txt").write_bytes(b"dear all,\nmore\n")
    (tree / "docs/plan.txt").unlink()
    world.increment(changed=["docs/letter.txt"], removed=["docs/plan.txt"])
    (tree / "docs/new.txt").write_bytes(b"new\n")
    world.increment(changed=["docs/new.txt"])
