// `--map`: a shipped map by name, or a map file.

import Bytes
import Contracts
import EventMapping
import Gateway

enum MapFile {
    static func read(_ name: String) throws -> EventMap {
        if let shipped = ShippedMap(rawValue: name) { return try shipped.map }
        guard !FolderFiles.isFolder(name), let text = ProcessFacts.text(name) else {
            let shipped = ShippedMap.allCases.map(\.rawValue).joined(separator: ", ")
            throw EventMapError("", "\(name) is neither a map file nor one of \(shipped)")
        }
        var bytes = ByteBuffer()
        bytes.append(text)
        return try EventMap(parsing: bytes.slice)
    }

    /// Lets an ingest read its lines, and the first one where that names columns, by a map.
    static func apply(_ map: EventMap, to input: inout IngestInput) {
        let mapper = EventMapper(map)
        input.map = { (line, events) throws(ContractError) in
            _ = try mapper.map(line, into: &events)
        }
        if map.needsHeader { input.readHeader = { try mapper.readHeader($0) } }
    }
}
