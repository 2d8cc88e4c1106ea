"""Writes container images without Docker: a `docker save` archive that is also an OCI layout, for several platforms at once.

The same inputs give the same bytes: timestamps, owners and the order of files do not depend on the machine.
"""

import hashlib
import io
import json
import tarfile

OCI = "application/vnd.oci.image."


def tar(entries):
    """A tar of `(path, bytes, mode)`, with each folder before its contents."""
    out, folders = io.BytesIO(), set()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, content, mode in entries:
            parts = path.split("/")[:-1]
            for depth in range(1, len(parts) + 1):
                folder = "/".join(parts[:depth])
                if folder not in folders:
                    folders.add(folder)
                    info = tarfile.TarInfo(folder)
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(info)
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def write(out, name, images, config):
    """`images` maps each architecture to the entries of its only layer; `config` is the image's `config` object."""
    blobs = {}

    def blob(content):
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return "sha256:" + digest

    def document(value):
        return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()

    def descriptor(kind, content, **more):
        return {"mediaType": OCI + kind, "digest": blob(content), "size": len(content), **more}

    manifests, saved = [], []
    for architecture, entries in images.items():
        layer = tar(entries)
        rootfs = {"type": "layers", "diff_ids": [blob(layer)]}
        about = document({"architecture": architecture, "os": "linux", "config": config, "rootfs": rootfs})
        manifest = document({
            "schemaVersion": 2,
            "mediaType": OCI + "manifest.v1+json",
            "config": descriptor("config.v1+json", about),
            "layers": [descriptor("layer.v1.tar", layer)],
        })
        platform = {"architecture": architecture, "os": "linux"}
        manifests.append(descriptor("manifest.v1+json", manifest, platform=platform))
        # For old versions of `docker load`, which read only one platform.
        if not saved:
            paths = ["blobs/sha256/" + blob(part).removeprefix("sha256:") for part in (about, layer)]
            saved.append({"Config": paths[0], "RepoTags": [name], "Layers": [paths[1]]})
    index = document({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": manifests})
    whole = descriptor("index.v1+json", index, annotations={"io.containerd.image.name": "docker.io/library/" + name})
    entries = [("oci-layout", document({"imageLayoutVersion": "1.0.0"}), 0o644)]
    entries.append(("index.json", document({"schemaVersion": 2, "manifests": [whole]}), 0o644))
    entries.append(("manifest.json", document(saved), 0o644))
    entries += [("blobs/sha256/" + digest, blobs[digest], 0o644) for digest in sorted(blobs)]
    out.write_bytes(tar(entries))


def main():
    """`agent_image.py OUT [NAME=VALUE ...]`: an image of one file, for tests. Names: `text`, `path`, `entrypoint` and
    `architecture`."""
    import pathlib
    import sys

    given = dict(pair.split("=", 1) for pair in sys.argv[2:])
    entries = [(given.get("path", "agent"), given.get("text", "an agent").encode(), 0o755)]
    entry = given.get("entrypoint", "/agent")
    write(pathlib.Path(sys.argv[1]), "agent:latest", {given.get("architecture", "amd64"): entries}, {"Entrypoint": [entry] if entry else []})


if __name__ == "__main__":
    main()
