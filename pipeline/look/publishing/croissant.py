"""A corpus in Croissant 1.0 (mlcommons.org/croissant): files with their digests, and what a record holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

_CONTEXT: dict[str, Any] = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo", "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field",
    "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject", "fileSet": "cr:fileSet",
    "format": "cr:format", "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5", "parentField": "cr:parentField",
    "path": "cr:path", "recordSet": "cr:recordSet", "references": "cr:references", "regex": "cr:regex",
    "repeated": "cr:repeated", "replace": "cr:replace", "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source", "subField": "cr:subField", "transform": "cr:transform",
}  # fmt: skip
_TYPES = (
    (pa.types.is_boolean, "sc:Boolean"),
    (pa.types.is_integer, "sc:Integer"),
    (pa.types.is_floating, "sc:Float"),
    (pa.types.is_timestamp, "sc:DateTime"),
)


def croissant(
    name: str,
    about: Mapping[str, Any],
    files: Sequence[Mapping[str, Any]],
    schema: pa.Schema,
    encoding: str,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the JSON-LD of a corpus.

    `about` has description, license, url, version, date, citation; `files` are `{path, bytes, sha256}`.
    """
    distribution: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject",
            "@id": file["path"],
            "name": file["path"],
            "contentUrl": file["path"],
            "contentSize": f"{file['bytes']} B",
            "encodingFormat": encoding,
            "sha256": file["sha256"],
        }
        for file in files
    ]
    records = [
        _record_set(file["path"], f"records-{number:05d}", schema, encoding)
        for number, file in enumerate(files)
    ]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": about["description"],
        "license": about["license"],
        "url": about["url"],
        "version": about["version"],
        "datePublished": about["date"],
        "citeAs": about["citation"],
        "creator": {"@type": "sc:Organization", "name": about["creator"]},
        "rai:dataCollection": facts["collection"],
        "rai:dataPreprocessingProtocol": facts["preprocessing"],
        "rai:personalSensitiveInformation": facts["personal"],
        "rai:dataLimitations": facts["limits"],
        "distribution": distribution,
        "recordSet": records,
    }


def _record_set(path: str, name: str, schema: pa.Schema, encoding: str) -> dict[str, Any]:
    def extract(column: str) -> dict[str, str]:
        return {"column": column} if "parquet" in encoding else {"jsonPath": f"$.{column}"}

    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{name}/{field.name}",
            "name": f"{name}/{field.name}",
            "dataType": _type(field.type),
            "source": {"fileObject": {"@id": path}, "extract": extract(field.name)},
        }
        for field in schema
        if not pa.types.is_nested(field.type)
    ]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}


def _type(kind: pa.DataType) -> str:
    return next((name for test, name in _TYPES if test(kind)), "sc:Text")
