"""MongoDB's wire protocol on a real socket, backed by mongomock: a server for real pymongo where there is no mongod.

It supports OP_MSG, OP_QUERY for the initial handshake, and the commands needed for reading, writing, GridFS and
cursors. Unlike mongod, it does not check permissions, plan queries or keep data on disk. The same tests also run
against a real server if MONGODB_URI names one.

    with serve() as url: pymongo.MongoClient(url)
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import socket
import socketserver
import struct
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import bson
import mongomock
import pymongo.errors
from bson.codec_options import CodecOptions
from bson.son import SON

Document = dict[str, Any]

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
_CODEC: CodecOptions[Document] = CodecOptions(document_class=dict)
_GREETING = {
    "helloOk": True,
    "ismaster": True,
    "isWritablePrimary": True,
    "maxBsonObjectSize": 16 * 2**20,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "readOnly": False,
    "logicalSessionTimeoutMinutes": 30,
    "ok": 1.0,
}


class CommandError(Exception):
    """A command that fails with one of MongoDB's error codes."""

    def __init__(self, code: int, name: str, text: str) -> None:
        super().__init__(text)
        self.reply = {"ok": 0.0, "errmsg": text, "code": code, "codeName": name}


def adapted(node: Any) -> Any:
    """Rewrites a query's lists of types in a form that mongomock supports, without the types that it does not know."""
    if isinstance(node, list):
        return [adapted(child) for child in node]
    if not isinstance(node, dict):
        return node
    for name, child in node.items():
        if isinstance(child, dict) and isinstance(child.get("$type"), list):
            known = ("int", "double", "string", "object", "array", "binData", "objectId", "bool", "date")
            kinds = [{name: {"$type": kind}} for kind in child["$type"] if kind in known]
            return {"$or": kinds} if kinds else {name: {"$in": []}}
    return {name: adapted(child) for name, child in node.items()}


class Commands:
    """The commands, each implemented by a method `do_<name in lower case>`."""

    def __init__(self) -> None:
        self.store = mongomock.MongoClient()
        self.cursors: dict[int, tuple[str, Iterator[Document]]] = {}
        self.numbers = itertools.count(7919, 7919)
        self.lock = threading.RLock()

    def reply(self, command: Document) -> Document:
        name = next(iter(command))
        try:
            handler = getattr(self, f"do_{name.lower()}", None)
            if handler is None:
                raise CommandError(59, "CommandNotFound", f"no such command: '{name}'")
            with self.lock:
                return handler(command.get("$db", "admin"), command[name], command)
        except CommandError as error:
            return error.reply
        except (pymongo.errors.OperationFailure, mongomock.OperationFailure) as error:
            return {"ok": 0.0, "errmsg": str(error), "code": getattr(error, "code", None) or 2, "codeName": "BadValue"}
        except Exception as error:
            return {"ok": 0.0, "errmsg": f"{type(error).__name__}: {error}", "code": 8, "codeName": "UnknownError"}

    # --- the server itself

    def do_hello(self, _database: str, _value: Any, _command: Document) -> Document:
        return {**_GREETING, "localTime": datetime.datetime.now(datetime.UTC), "connectionId": 1}

    do_ismaster = do_hello

    def do_ping(self, _database: str, _value: Any, _command: Document) -> Document:
        return {"ok": 1.0}

    do_endsessions = do_ping

    def do_buildinfo(self, _database: str, _value: Any, _command: Document) -> Document:
        return {"version": "7.0.0", "versionArray": [7, 0, 0, 0], "maxBsonObjectSize": 16 * 2**20, "ok": 1.0}

    def do_listdatabases(self, _database: str, _value: Any, _command: Document) -> Document:
        names = [name for name in self.store.list_database_names() if self.store[name].list_collection_names()]
        found = [{"name": name, "sizeOnDisk": 0, "empty": False} for name in names]
        return {"databases": found, "totalSize": 0, "ok": 1.0}

    def do_dropdatabase(self, database: str, _value: Any, _command: Document) -> Document:
        self.store.drop_database(database)
        return {"ok": 1.0}

    # --- reading

    def do_find(self, database: str, name: str, command: Document) -> Document:
        found = self.store[database][name].find(adapted(command.get("filter") or {}), command.get("projection") or None)
        if command.get("sort"):
            found = found.sort(list(command["sort"].items()))
        found = found.skip(command.get("skip", 0)).limit(abs(command.get("limit", 0)))
        return self.batch(
            f"{database}.{name}", list(found), command.get("batchSize", 101), single=command.get("singleBatch")
        )

    def do_aggregate(self, database: str, name: str, command: Document) -> Document:
        found = self.store[database][name].aggregate(command["pipeline"])
        return self.batch(f"{database}.{name}", list(found), command.get("cursor", {}).get("batchSize", 101))

    def do_count(self, database: str, name: str, command: Document) -> Document:
        return {"n": self.store[database][name].count_documents(command.get("query") or {}), "ok": 1.0}

    def do_getmore(self, _database: str, cursor: int, command: Document) -> Document:
        if cursor not in self.cursors:
            raise CommandError(43, "CursorNotFound", f"cursor id {cursor} not found")
        namespace, rest = self.cursors.pop(cursor)
        return self.batch(namespace, rest, command.get("batchSize"), cursor)

    def do_killcursors(self, _database: str, _name: str, command: Document) -> Document:
        killed = [cursor for cursor in command["cursors"] if self.cursors.pop(cursor, None)]
        rest = [cursor for cursor in command["cursors"] if cursor not in killed]
        return {"cursorsKilled": killed, "cursorsNotFound": rest, "cursorsAlive": [], "cursorsUnknown": [], "ok": 1.0}

    def do_forgetcursors(self, _database: str, _value: Any, _command: Document) -> Document:
        """Drops all cursors, as a real server does after ten minutes; a command that only this server has."""
        self.cursors.clear()
        return {"ok": 1.0}

    def batch(
        self,
        namespace: str,
        documents: Iterable[Document],
        size: int | None,
        cursor: int = 0,
        single: bool | None = None,
    ) -> Document:
        """Returns a reply with the next documents: as many as were asked for and fit into a message."""
        key = "nextBatch" if cursor else "firstBatch"
        given: list[Document] = []
        weight = 0
        rest = iter(documents)
        for document in rest:
            weight += len(bson.encode(document))
            if (given and weight > 16_000_000) or (size is not None and len(given) == size):
                if not single:
                    cursor = cursor or next(self.numbers)
                    self.cursors[cursor] = (namespace, itertools.chain([document], rest))
                break
            given.append(document)
        if cursor not in self.cursors:
            cursor = 0
        return {"cursor": {"id": bson.Int64(cursor), "ns": namespace, key: given}, "ok": 1.0}

    # --- writing

    def do_insert(self, database: str, name: str, command: Document) -> Document:
        done, errors = self.each(command["documents"], command, self.store[database][name].insert_one)
        return {"n": len(done), "ok": 1.0, **errors}

    def do_update(self, database: str, name: str, command: Document) -> Document:
        collection = self.store[database][name]

        def one(change: Document) -> Any:
            content, upsert = change["u"], change.get("upsert", False)
            if not next(iter(content), "").startswith("$"):
                return collection.replace_one(change["q"], content, upsert=upsert)
            update = collection.update_many if change.get("multi") else collection.update_one
            return update(change["q"], content, upsert=upsert)

        done, errors = self.each(command["updates"], command, one)
        new = [
            {"index": i, "_id": result.upserted_id} for i, result in enumerate(done) if result.upserted_id is not None
        ]
        matched = sum(result.matched_count for result in done)
        changed = sum(result.modified_count or 0 for result in done)
        return {
            "n": matched + len(new),
            "nModified": changed,
            "ok": 1.0,
            **({"upserted": new} if new else {}),
            **errors,
        }

    def do_delete(self, database: str, name: str, command: Document) -> Document:
        collection = self.store[database][name]

        def one(change: Document) -> Any:
            return (collection.delete_one if change.get("limit") else collection.delete_many)(change["q"])

        done, errors = self.each(command["deletes"], command, one)
        return {"n": sum(result.deleted_count for result in done), "ok": 1.0, **errors}

    def each(self, items: list[Document], command: Document, one: Any) -> tuple[list[Any], Document]:
        done: list[Any] = []
        errors: list[Document] = []
        for index, item in enumerate(items):
            try:
                done.append(one(item))
            except (pymongo.errors.WriteError, mongomock.WriteError) as error:
                code = 11000 if isinstance(error, mongomock.DuplicateKeyError) else 9
                errors.append({"index": index, "code": code, "errmsg": str(error)})
                if command.get("ordered", True):
                    break
        return done, {"writeErrors": errors} if errors else {}

    # --- collections and indexes

    def do_create(self, database: str, name: str, _command: Document) -> Document:
        self.store[database].create_collection(name)
        return {"ok": 1.0}

    def do_drop(self, database: str, name: str, _command: Document) -> Document:
        self.store[database].drop_collection(name)
        return {"ok": 1.0}

    def do_listcollections(self, database: str, _value: Any, command: Document) -> Document:
        wanted = (command.get("filter") or {}).get("name")
        names = [name for name in self.store[database].list_collection_names() if wanted in (None, name)]
        found = [{"name": name, "type": "collection", "options": {}, "info": {"readOnly": False}} for name in names]
        return self.batch(f"{database}.$cmd.listCollections", found, None)

    def do_createindexes(self, database: str, name: str, command: Document) -> Document:
        for index in command["indexes"]:
            keys = list(index["key"].items())
            self.store[database][name].create_index(keys, name=index["name"], unique=bool(index.get("unique")))
        return {"createdCollectionAutomatically": False, "ok": 1.0}

    def do_listindexes(self, database: str, name: str, _command: Document) -> Document:
        if name not in self.store[database].list_collection_names():
            raise CommandError(26, "NamespaceNotFound", f"ns does not exist: {database}.{name}")
        known = {"_id_": {"key": [("_id", 1)]}} | dict(self.store[database][name].index_information())
        found = [{"v": 2, "name": index, "key": SON(content["key"])} for index, content in known.items()]
        return self.batch(f"{database}.{name}", found, None)


class _Connection(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):
            while True:
                length, request, _, kind = struct.unpack("<iiii", self.read(16))
                content = self.read(length - 16)
                if kind == OP_MSG:
                    self.message(request, content)
                elif kind == OP_QUERY:
                    self.greeting(request, content)
                else:
                    return

    def read(self, length: int) -> bytes:
        content = bytearray()
        while len(content) < length:
            part = self.request.recv(min(length - len(content), 2**20))
            if not part:
                raise ConnectionError
            content += part
        return bytes(content)

    def message(self, request: int, content: bytes) -> None:
        (flags,) = struct.unpack_from("<I", content)
        checksum_present, more_to_come = flags & 1, flags & 2
        position, end = 4, len(content) - (4 if checksum_present else 0)
        command: Document = {}
        sequences: Document = {}
        while position < end:
            kind, (size,) = content[position], struct.unpack_from("<i", content, position + 1)
            section = content[position + 1 : position + 1 + size]
            if kind == 0:
                command = bson.decode(section, _CODEC)
            else:
                name_end = section.index(0, 4)
                sequences[section[4:name_end].decode()] = bson.decode_all(section[name_end + 1 :], _CODEC)
            position += 1 + size
        reply = self.server.commands.reply(command | sequences)
        if not more_to_come:
            self.send(request, OP_MSG, struct.pack("<IB", 0, 0) + bson.encode(reply))

    def greeting(self, request: int, content: bytes) -> None:
        start = content.index(0, 4) + 1 + 8
        query = bson.decode(content[start : start + struct.unpack_from("<i", content, start)[0]], _CODEC)
        reply = self.server.commands.reply(query.get("$query", query))
        self.send(request, OP_REPLY, struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(reply))

    def send(self, request: int, kind: int, content: bytes) -> None:
        self.request.sendall(struct.pack("<iiii", 16 + len(content), 0, request, kind) + content)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    commands: Commands


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """Yields the URL of a server that runs for the duration of the block."""
    with _Server(("127.0.0.1", 0), _Connection) as server:
        server.commands = Commands()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"mongodb://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
