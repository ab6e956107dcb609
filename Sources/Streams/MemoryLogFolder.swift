// A MemoryLog that survives its process: segments and a journal in a folder (`--data DIR`).

import Bytes

#if canImport(Glibc)
    import Glibc
#endif

extension MemoryLog {
    /// Opens the log kept in `folder`, or begins one there.
    ///
    /// A transaction is on disk, whole, when its commit returns; what was appended or set outside
    /// transactions is there with the next commit or `flush`. Opening brings back records, offsets,
    /// groups' committed offsets, producers' epochs and `now`; what was not committed never happened,
    /// and a torn end is cut off. Trimmed and compacted records leave the disk. One process at a time.
    ///
    /// - Parameters:
    ///   - topics: in the order of their numbers. Those the folder knows are found by name and must
    ///     have as many partitions as there; new ones are added.
    /// - Throws: `LogFolderError`, also from every later commit and `flush` after the disk failed.
    public convenience init(topics: [MemoryTopic], folder path: String) throws {
        self.init(topics: topics)
        try openFolder(LogFolder(path))
    }

    /// Puts everything on disk that is not there yet; call it before the process ends.
    public func flush() throws { try write() }

    func openFolder(_ folder: LogFolder) throws {
        guard let length = try folder.length("journal") else {
            guard try folder.list("").allSatisfy({ $0 == "lock" || $0 == "journal.new" }) else {
                throw LogFolderError.damaged(folder.path, "there is data but no journal")
            }
            self.folder = folder
            return try folder.changing { try writeWholeJournal(folder) }
        }
        try load(folder, journalLength: length)
        self.folder = folder
        try folder.changing {
            try writeWholeJournal(folder)
            try removeUnknownFiles(folder)
        }
    }

    // Writing

    /// Puts the changes since the last call on disk as one atomic change.
    func write() throws {
        guard let folder else { return }
        try folder.changing {
            var entry = LogJournal()
            entry.now = now
            try forEachPartition { topic, partition, log in
                guard log.pointee.isUnwritten else { return }
                entry.partitions.append(
                    LogJournal.Partition(
                        topic: topic, partition: partition, start: log.pointee.startOffset,
                        end: log.pointee.endOffset,
                        segments: try writeSegments(
                            &log.pointee, name: name(topic, partition), folder)))
            }
            entry.offsets = try folder.changedOffsets.map { group, place in
                try offset(group, place)
            }
            entry.producers = folder.changedProducers.sorted().map { producer($0) }
            guard !entry.partitions.isEmpty || !entry.offsets.isEmpty || !entry.producers.isEmpty
            else { return }
            var bytes = ByteBuffer()
            entry.append(sequence: folder.journalSequence + 1, to: &bytes)
            try folder.writeAndSync("journal", bytes.slice, at: folder.journalEnd)
            folder.journalSequence += 1
            folder.journalEnd += bytes.count
            settleJournal(folder)
            if folder.journalEnd > max(1 << 20, folder.journalBase * 2) {
                try writeWholeJournal(folder)
            }
        }
    }

    private func writeSegments(
        _ log: inout MemoryLogPartition, name: String, _ folder: LogFolder
    ) throws -> [LogJournal.Segment] {
        var written: [LogJournal.Segment] = []
        try log.forEachUnwritten { chunk in
            let bytes = ByteSlice(
                UnsafeRawBufferPointer(
                    start: chunk.base + chunk.durable, count: chunk.used - chunk.durable))
            var segment = LogJournal.Segment(chunk)
            let isNew = segment.length == 0
            segment.length = chunk.used
            segment.checksum = CRC32C.checksum(bytes, continuing: chunk.checksum)
            try folder.makeFolder(name)
            try folder.writeAndSync("\(name)/\(segment.fileName)", bytes, at: chunk.durable)
            if isNew { try folder.syncFolder(name) }
            chunk.durable = segment.length
            chunk.checksum = segment.checksum
            written.append(segment)
        }
        return written
    }

    /// What the journal now says needs not be said again.
    private func settleJournal(_ folder: LogFolder) {
        folder.changedOffsets.removeAll(keepingCapacity: true)
        folder.changedProducers.removeAll(keepingCapacity: true)
        for place in 0..<partitionCount {
            partitions[place].durableStart = partitions[place].startOffset
            partitions[place].durableEnd = partitions[place].endOffset
        }
    }

    /// Writes a journal of one entry that says everything, and puts it in the place of the old one.
    private func writeWholeJournal(_ folder: LogFolder) throws {
        var entry = LogJournal()
        entry.now = now
        entry.topics = topics.map { LogJournal.Topic(name: $0.name, partitions: $0.partitions) }
        try forEachPartition { topic, partition, log in
            _ = try writeSegments(&log.pointee, name: name(topic, partition), folder)
            entry.partitions.append(
                LogJournal.Partition(
                    topic: topic, partition: partition, start: log.pointee.startOffset,
                    end: log.pointee.endOffset, segments: log.pointee.chunks.map { .init($0) }))
        }
        for group in groups.keys.sorted() {
            for place in groups[group]!.offsets.keys.sorted() {
                entry.offsets.append(try offset(group, place))
            }
        }
        entry.producers = producers.keys.sorted().map { producer($0) }
        var bytes = ByteBuffer()
        entry.append(sequence: folder.journalSequence + 1, to: &bytes)
        try folder.remove("journal.new")
        try folder.writeAndSync("journal.new", bytes.slice, at: 0)
        try folder.rename("journal.new", to: "journal")
        try folder.syncFolder("")
        folder.journalSequence += 1
        folder.journalEnd = bytes.count
        folder.journalBase = bytes.count
        settleJournal(folder)
    }

    /// Takes chunks that are gone from memory off the disk: first out of the journal, then their files.
    func drop(_ gone: [Int: [MemoryLogPartition.Chunk]]) throws {
        guard let folder, gone.values.contains(where: { !$0.isEmpty }) else { return }
        try folder.changing {
            try writeWholeJournal(folder)
            try forEachPartition { topic, partition, log in
                let place = log - partitions
                for chunk in gone[place] ?? [] where chunk.durable > 0 {
                    let file = LogJournal.Segment(chunk).fileName
                    try folder.remove("\(name(topic, partition))/\(file)")
                }
            }
        }
    }

    private func name(_ topic: Int, _ partition: Int) -> String {
        "\(topics[topic].name)-\(partition)"
    }

    private func forEachPartition(
        _ body: (Int, Int, UnsafeMutablePointer<MemoryLogPartition>) throws -> Void
    ) rethrows {
        var place = 0
        for topic in topics.indices {
            for partition in 0..<topics[topic].partitions {
                try body(topic, partition, partitions + place)
                place += 1
            }
        }
    }

    private func offset(_ group: String, _ place: Int) throws -> LogJournal.Offset {
        var topic = 0
        var partition = place
        while partition >= topics[topic].partitions {
            partition -= topics[topic].partitions
            topic += 1
        }
        return LogJournal.Offset(
            group: group, topic: topic, partition: partition,
            next: groups[group]!.offsets[place]!)
    }

    private func producer(_ id: String) -> LogJournal.Producer {
        LogJournal.Producer(id: id, number: producers[id]!.number, epoch: producers[id]!.epoch)
    }

    // Opening

    private func load(_ folder: LogFolder, journalLength length: Int) throws {
        let journal = UnsafeMutableRawPointer.allocate(byteCount: max(1, length), alignment: 8)
        defer { journal.deallocate() }
        let read = try folder.read("journal", length, into: journal)
        var reader = JournalReader(
            ByteSlice(UnsafeRawBufferPointer(start: journal, count: read)), folder.path)
        try reader.readAll()
        folder.journalSequence = reader.sequence
        // A torn end behind the last whole entry shows that that one was finished.
        var candidates = [reader.last]
        if !reader.isTorn, let before = reader.beforeLast { candidates.append(before) }
        let files = try SegmentFiles(reader.last, folder)
        guard let state = candidates.first(where: { files.hold($0) }) else {
            throw LogFolderError.damaged(
                "\(folder.path)/\(files.firstBad(reader.last) ?? "journal")",
                "the segment is not as the journal says")
        }
        if reader.isTorn || state != reader.last { folder.journalSequence += 1 }
        try restore(state, files, folder)
    }

    private func restore(_ state: LogJournal, _ files: SegmentFiles, _ folder: LogFolder) throws {
        let places = try state.topics.map { try placeOfTopic($0, folder) }
        now = state.now
        for offset in state.offsets {
            groups[offset.group, default: Group()].offsets[
                places[offset.topic] + offset.partition] =
                offset.next
        }
        for known in state.producers {
            let producer = Producer(number: known.number)
            producer.epoch = known.epoch
            producers[known.id] = producer
        }
        for known in state.partitions {
            let log = partitions + (places[known.topic] + known.partition)
            var pending: [Int32: [UnsafeMutableRawPointer]] = [:]
            let name = state.folderName(known)
            for segment in known.segments {
                let chunk = try files.takeChunk("\(name)/\(segment.fileName)", segment)
                guard log.pointee.restore(chunk, pending: &pending) else {
                    throw LogFolderError.damaged(
                        "\(folder.path)/\(name)/\(segment.fileName)", "its entries cannot be read")
                }
            }
            guard
                log.pointee.finishRestore(
                    start: known.start, end: known.end, pending: pending, now: now)
            else {
                throw LogFolderError.damaged(
                    "\(folder.path)/\(name)", "its offsets are not those of the journal")
            }
        }
    }

    private func placeOfTopic(_ known: LogJournal.Topic, _ folder: LogFolder) throws -> Int {
        func refuse(_ sentence: String) -> LogFolderError {
            LogFolderError(kind: .otherTopics, path: folder.path, sentence: sentence)
        }
        guard let number = topics.firstIndex(where: { $0.name == known.name }) else {
            throw refuse(
                "it holds the topic \(known.name), which these settings do not have; start with the "
                    + "settings it was written with, or choose another folder")
        }
        guard topics[number].partitions == known.partitions else {
            throw refuse(
                "its topic \(known.name) has \(known.partitions) partitions, these settings say "
                    + "\(topics[number].partitions); keys would change their partition, so start with "
                    + "\(known.partitions) or choose another folder")
        }
        return try place(UInt16(number), 0)
    }

    /// Removes what a stopped process left behind: segments that no journal entry names, torn ends.
    private func removeUnknownFiles(_ folder: LogFolder) throws {
        try folder.remove("journal.new")
        try forEachPartition { topic, partition, log in
            let name = name(topic, partition)
            var known: [String: Int] = [:]
            for chunk in log.pointee.chunks {
                known[LogJournal.Segment(chunk).fileName] = chunk.durable
            }
            for file in try folder.list(name) where file.hasSuffix(".segment") {
                if let length = known[file] {
                    if try folder.length("\(name)/\(file)") != length {
                        try folder.truncate("\(name)/\(file)", to: length)
                    }
                } else {
                    try folder.remove("\(name)/\(file)")
                }
            }
        }
    }
}

extension LogJournal.Segment {
    /// The part of a chunk that is on disk.
    init(_ chunk: MemoryLogPartition.Chunk) {
        self.init(
            firstOffset: chunk.firstOffset, number: chunk.number, length: chunk.durable,
            checksum: chunk.checksum)
    }
}
