// Topics and their settings: create, describe, alter, delete.

import CRdKafka

/// A topic to create.
public struct NewTopic: Equatable, Sendable {
    public var name: String
    public var partitions: Int
    /// nil: the cluster's default.
    public var replicas: Int?
    /// Kafka's topic settings, as in `cleanup.policy`.
    public var settings: [String: String]

    public init(
        _ name: String, partitions: Int, replicas: Int? = nil, settings: [String: String] = [:]
    ) {
        self.name = name
        self.partitions = partitions
        self.replicas = replicas
        self.settings = settings
    }
}

/// A topic as the cluster has it.
public struct TopicDescription: Equatable, Sendable {
    public struct Setting: Equatable, Sendable {
        /// nil where the broker keeps it to itself.
        public let value: String?
        /// Whether it was set for this topic; else it is a default of the cluster.
        public let isSetHere: Bool

        public init(value: String?, isSetHere: Bool) {
            self.value = value
            self.isSetHere = isSetHere
        }
    }

    public let name: String
    public let partitions: Int
    public let replicas: Int
    public let settings: [String: Setting]

    public init(name: String, partitions: Int, replicas: Int, settings: [String: Setting]) {
        self.name = name
        self.partitions = partitions
        self.replicas = replicas
        self.settings = settings
    }
}

/// The brokers of a cluster.
public struct ClusterDescription: Equatable, Sendable {
    public struct Broker: Equatable, Sendable {
        public let id: Int
        public let address: String
    }

    public let id: String?
    public let controller: Int?
    public let brokers: [Broker]
}

/// A client for topics. Asks nothing about groups: such calls can stop the process when a broker dies
/// (librdkafka's issues 3663 and 4605). Not `Sendable`: one thread.
public final class Admin {
    let client: Client

    public init(_ properties: ClientProperties) throws(KafkaError) {
        client = try Client(.producer, properties, decided: [:])
    }

    /// Waits until a broker answers.
    ///
    /// - Throws: `.fixSettings` when credentials or certificates are refused, `.retry` when nobody
    ///   answered in time.
    public func connect(timeoutMilliseconds: Int = 10_000) throws(KafkaError) {
        let handle = client.handle
        try client.connect(timeoutMilliseconds: timeoutMilliseconds) { rd_kafka_poll(handle, 0) }
    }

    /// Lines of librdkafka's log since the last call, at most 256.
    public func takeLog() -> [LogLine] {
        rd_kafka_poll(client.handle, 0)
        return client.takeLog()
    }

    // Asking

    public func describeCluster(
        timeoutMilliseconds: Int = 10_000
    ) throws(KafkaError) -> ClusterDescription {
        try withMetadata("describe the cluster", allTopics: false, timeoutMilliseconds) {
            metadata in
            let deadline = Int32(timeoutMilliseconds)
            let id = rd_kafka_clusterid(client.handle, deadline)
            defer { if let id { rd_kafka_mem_free(client.handle, id) } }
            let controller = rd_kafka_controllerid(client.handle, deadline)
            let brokers = UnsafeBufferPointer(
                start: metadata.brokers, count: Int(metadata.broker_cnt))
            return ClusterDescription(
                id: id.map { String(cString: $0) },
                controller: controller < 0 ? nil : Int(controller),
                brokers: brokers.map {
                    .init(id: Int($0.id), address: "\(String(cString: $0.host)):\($0.port)")
                }.sorted { $0.id < $1.id })
        }
    }

    /// Names of all topics this client may see, sorted.
    public func topicNames(timeoutMilliseconds: Int = 10_000) throws(KafkaError) -> [String] {
        try withMetadata("list topics", allTopics: true, timeoutMilliseconds) { metadata in
            UnsafeBufferPointer(start: metadata.topics, count: Int(metadata.topic_cnt))
                .map { String(cString: $0.topic) }.sorted()
        }
    }

    /// The topics of `names` that exist, with their settings, in the order of `names`.
    public func describe(
        topics names: [String], timeoutMilliseconds: Int = 10_000
    ) throws(KafkaError) -> [TopicDescription] {
        let shapes = try withMetadata("describe topics", allTopics: true, timeoutMilliseconds) {
            metadata in
            UnsafeBufferPointer(start: metadata.topics, count: Int(metadata.topic_cnt))
                .reduce(into: [String: (partitions: Int, replicas: Int)]()) { result, topic in
                    guard topic.err == RD_KAFKA_RESP_ERR_NO_ERROR else { return }
                    result[String(cString: topic.topic)] = (
                        Int(topic.partition_cnt),
                        topic.partition_cnt > 0 ? Int(topic.partitions[0].replica_cnt) : 0
                    )
                }
        }
        let known = names.filter { shapes[$0] != nil }
        let settings = try describeSettings(of: known, timeoutMilliseconds)
        // A topic that is just being made or deleted is in one answer and not in the other.
        let found = known.filter { settings[$0] != nil }
        return found.map {
            TopicDescription(
                name: $0, partitions: shapes[$0]!.partitions, replicas: shapes[$0]!.replicas,
                settings: settings[$0] ?? [:])
        }
    }

    /// How many partitions a topic has. Asks for this topic alone, so that a missing right is told
    /// apart from a missing topic; a list of all topics leaves both out.
    ///
    /// - Throws: `.fixSettings` where the topic does not exist or may not be described.
    public func partitionCount(
        ofTopic name: String, timeoutMilliseconds: Int = 10_000
    ) throws(KafkaError) -> Int {
        let operation = "describe topic \(name)"
        guard let topic = rd_kafka_topic_new(client.handle, name, nil) else {
            throw client.error(operation, rd_kafka_last_error())
        }
        defer { rd_kafka_topic_destroy(topic) }
        var metadata: UnsafePointer<rd_kafka_metadata>?
        let code = rd_kafka_metadata(
            client.handle, 0, topic, &metadata, Int32(timeoutMilliseconds))
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata else {
            throw client.error(operation, code)
        }
        defer { rd_kafka_metadata_destroy(metadata) }
        guard metadata.pointee.topic_cnt == 1 else {
            throw client.error(operation, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        }
        let found = metadata.pointee.topics[0]
        guard found.err == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw client.error(operation, found.err)
        }
        return Int(found.partition_cnt)
    }

    private func withMetadata<Result>(
        _ operation: String, allTopics: Bool, _ timeoutMilliseconds: Int,
        _ body: (rd_kafka_metadata) -> Result
    ) throws(KafkaError) -> Result {
        var metadata: UnsafePointer<rd_kafka_metadata>?
        let code = rd_kafka_metadata(
            client.handle, allTopics ? 1 : 0, nil, &metadata, Int32(timeoutMilliseconds))
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata else {
            throw client.error(operation, code)
        }
        defer { rd_kafka_metadata_destroy(metadata) }
        return body(metadata.pointee)
    }

    private func describeSettings(
        of topics: [String], _ timeoutMilliseconds: Int
    ) throws(KafkaError) -> [String: [String: TopicDescription.Setting]] {
        guard !topics.isEmpty else { return [:] }
        let answer = try ask(
            RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, "describe topic settings", timeoutMilliseconds
        ) { options, queue in
            var resources = topics.map { rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, $0) }
            rd_kafka_DescribeConfigs(
                self.client.handle, &resources, resources.count, options, queue)
            rd_kafka_ConfigResource_destroy_array(&resources, resources.count)
        }
        var count = 0
        let resources = rd_kafka_DescribeConfigs_result_resources(answer.event, &count)
        var result: [String: [String: TopicDescription.Setting]] = [:]
        for resource in UnsafeBufferPointer(start: resources, count: count) {
            let name = String(cString: rd_kafka_ConfigResource_name(resource))
            let code = rd_kafka_ConfigResource_error(resource)
            if code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART { continue }
            try check(
                "describe the settings of \(name)", code,
                rd_kafka_ConfigResource_error_string(resource))
            var entryCount = 0
            let entries = rd_kafka_ConfigResource_configs(resource, &entryCount)
            for entry in UnsafeBufferPointer(start: entries, count: entryCount) {
                let isSecret = rd_kafka_ConfigEntry_is_sensitive(entry) != 0
                let value = rd_kafka_ConfigEntry_value(entry).map { String(cString: $0) }
                result[name, default: [:]][String(cString: rd_kafka_ConfigEntry_name(entry))] =
                    TopicDescription.Setting(
                        value: isSecret ? nil : value,
                        isSetHere: rd_kafka_ConfigEntry_source(entry)
                            == RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG)
            }
        }
        return result
    }

    // Changing

    /// Creates topics; throws for the first that could not be. Returns when they can be seen.
    ///
    /// - Parameter validateOnly: ask the cluster whether it would, change nothing.
    public func create(
        _ topics: [NewTopic], validateOnly: Bool = false, timeoutMilliseconds: Int = 30_000
    ) throws(KafkaError) {
        guard !topics.isEmpty else { return }
        var requests: [OpaquePointer?] = []
        defer { rd_kafka_NewTopic_destroy_array(&requests, requests.count) }
        for topic in topics {
            let (request, reason) = withErrorText {
                rd_kafka_NewTopic_new(
                    topic.name, Int32(topic.partitions), Int32(topic.replicas ?? -1), $0, $1)
            }
            guard let request else {
                throw KafkaError.settings("create topic \(topic.name)", reason)
            }
            requests.append(request)
            for (key, value) in topic.settings.sorted(by: { $0.key < $1.key }) {
                let code = rd_kafka_NewTopic_set_config(request, key, value)
                try check("create topic \(topic.name) with \(key)", code, nil)
            }
        }
        let answer = try ask(
            RD_KAFKA_ADMIN_OP_CREATETOPICS, "create topics", timeoutMilliseconds,
            validateOnly: validateOnly
        ) { options, queue in
            rd_kafka_CreateTopics(self.client.handle, &requests, requests.count, options, queue)
        }
        var count = 0
        let results = rd_kafka_CreateTopics_result_topics(answer.event, &count)
        try check("create topic", results, count)
        guard !validateOnly else { return }
        let deadline = Deadline(milliseconds: timeoutMilliseconds)
        while try describe(topics: topics.map(\.name)).count < topics.count, !deadline.isOver {
            rd_kafka_poll(client.handle, 20)
        }
    }

    /// Deletes topics. Returns when the cluster does not name them any more.
    public func delete(
        topics: [String], timeoutMilliseconds: Int = 30_000
    ) throws(KafkaError) {
        guard !topics.isEmpty else { return }
        var requests: [OpaquePointer?] = topics.map { rd_kafka_DeleteTopic_new($0) }
        defer { rd_kafka_DeleteTopic_destroy_array(&requests, requests.count) }
        let answer = try ask(
            RD_KAFKA_ADMIN_OP_DELETETOPICS, "delete topics", timeoutMilliseconds
        ) { options, queue in
            rd_kafka_DeleteTopics(self.client.handle, &requests, requests.count, options, queue)
        }
        var count = 0
        let results = rd_kafka_DeleteTopics_result_topics(answer.event, &count)
        try check("delete topic", results, count)
        let deadline = Deadline(milliseconds: timeoutMilliseconds)
        while try topicNames().contains(where: topics.contains), !deadline.isOver {
            rd_kafka_poll(client.handle, 20)
        }
    }

    /// Gives a topic more partitions; keys of existing records stay where they are. Returns when the cluster
    /// names them all.
    public func grow(
        topic: String, to partitions: Int, timeoutMilliseconds: Int = 30_000
    ) throws(KafkaError) {
        let (request, reason) = withErrorText {
            rd_kafka_NewPartitions_new(topic, partitions, $0, $1)
        }
        guard let request else { throw KafkaError.settings("add partitions to \(topic)", reason) }
        var requests: [OpaquePointer?] = [request]
        defer { rd_kafka_NewPartitions_destroy_array(&requests, requests.count) }
        let answer = try ask(
            RD_KAFKA_ADMIN_OP_CREATEPARTITIONS, "add partitions to \(topic)", timeoutMilliseconds
        ) { options, queue in
            rd_kafka_CreatePartitions(
                self.client.handle, &requests, requests.count, options, queue)
        }
        var count = 0
        let results = rd_kafka_CreatePartitions_result_topics(answer.event, &count)
        try check("add partitions to", results, count)
        let deadline = Deadline(milliseconds: timeoutMilliseconds)
        while try describe(topics: [topic]).contains(where: { $0.partitions < partitions }),
            !deadline.isOver
        {
            rd_kafka_poll(client.handle, 20)
        }
    }

    /// Changes settings of a topic and leaves its others as they are; nil takes one back to the
    /// cluster's default. Returns when the change can be read back.
    ///
    /// librdkafka before 2.2 can only replace all settings at once, so they are read first: two
    /// changes at the same moment can lose one of them.
    public func alter(
        topic: String, settings changes: [String: String?], timeoutMilliseconds: Int = 30_000
    ) throws(KafkaError) {
        guard let now = try describeSettings(of: [topic], timeoutMilliseconds)[topic] else {
            throw client.error(
                "alter \(topic)", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        }
        var wanted = now.filter(\.value.isSetHere).compactMapValues(\.value)
        for (key, value) in changes { wanted[key] = value }
        let resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic)
        var resources: [OpaquePointer?] = [resource]
        defer { rd_kafka_ConfigResource_destroy_array(&resources, resources.count) }
        for (key, value) in wanted.sorted(by: { $0.key < $1.key }) {
            try check(
                "alter \(key) of \(topic)",
                rd_kafka_ConfigResource_set_config(resource, key, value),
                nil)
        }
        let answer = try ask(
            RD_KAFKA_ADMIN_OP_ALTERCONFIGS, "alter \(topic)", timeoutMilliseconds
        ) { options, queue in
            rd_kafka_AlterConfigs(self.client.handle, &resources, resources.count, options, queue)
        }
        var count = 0
        let results = rd_kafka_AlterConfigs_result_resources(answer.event, &count)
        for result in UnsafeBufferPointer(start: results, count: count) {
            try check(
                "alter \(topic)", rd_kafka_ConfigResource_error(result),
                rd_kafka_ConfigResource_error_string(result))
        }
        try waitUntil(topic, hasSet: wanted, timeoutMilliseconds)
    }

    /// A broker learns of a change a moment after the controller has agreed to it; who read too early
    /// and wrote again would take the change back.
    private func waitUntil(
        _ topic: String, hasSet wanted: [String: String], _ timeoutMilliseconds: Int
    ) throws(KafkaError) {
        let deadline = Deadline(milliseconds: timeoutMilliseconds)
        while true {
            let now = try describeSettings(of: [topic], timeoutMilliseconds)[topic] ?? [:]
            let set = now.filter(\.value.isSetHere).compactMapValues(\.value)
            if set == wanted { return }
            guard !deadline.isOver else {
                throw client.error(
                    "alter \(topic)", RD_KAFKA_RESP_ERR__TIMED_OUT,
                    reason: "the change was accepted, but the broker does not show it")
            }
            rd_kafka_poll(client.handle, 20)
        }
    }

    /// Deletes the records below each position, as retention does.
    public func deleteRecords(
        before positions: [Position], timeoutMilliseconds: Int = 30_000
    ) throws(KafkaError) {
        guard !positions.isEmpty else { return }
        let list = PartitionList(positions)
        var requests: [OpaquePointer?] = [list.lend { rd_kafka_DeleteRecords_new($0) }]
        defer { rd_kafka_DeleteRecords_destroy_array(&requests, requests.count) }
        let answer = try ask(
            RD_KAFKA_ADMIN_OP_DELETERECORDS, "delete records", timeoutMilliseconds
        ) { options, queue in
            rd_kafka_DeleteRecords(self.client.handle, &requests, requests.count, options, queue)
        }
        guard let offsets = rd_kafka_DeleteRecords_result_offsets(answer.event) else { return }
        let copy = PartitionList(owning: rd_kafka_topic_partition_list_copy(offsets))
        if let (partition, code) = copy.firstError {
            throw client.error("delete records of \(partition)", code)
        }
    }

    // One request

    /// The event that answers a request; the result's parts belong to it.
    private struct Answer: ~Copyable {
        let event: OpaquePointer
        deinit { rd_kafka_event_destroy(event) }
    }

    private func ask(
        _ kind: rd_kafka_admin_op_t, _ operation: String, _ timeoutMilliseconds: Int,
        validateOnly: Bool = false,
        _ send: (_ options: OpaquePointer?, _ queue: OpaquePointer?) -> Void
    ) throws(KafkaError) -> Answer {
        let options = rd_kafka_AdminOptions_new(client.handle, kind)
        defer { rd_kafka_AdminOptions_destroy(options) }
        _ = withErrorText {
            rd_kafka_AdminOptions_set_request_timeout(options, Int32(timeoutMilliseconds), $0, $1)
        }
        // How long the broker may take; describing takes no such time.
        if kind != RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, kind != RD_KAFKA_ADMIN_OP_ALTERCONFIGS {
            _ = withErrorText {
                rd_kafka_AdminOptions_set_operation_timeout(
                    options, Int32(timeoutMilliseconds), $0, $1)
            }
        }
        if validateOnly {
            _ = withErrorText { rd_kafka_AdminOptions_set_validate_only(options, 1, $0, $1) }
        }
        let queue = rd_kafka_queue_new(client.handle)
        defer { rd_kafka_queue_destroy(queue) }
        send(options, queue)
        guard let event = rd_kafka_queue_poll(queue, Int32(timeoutMilliseconds + 1_000)) else {
            throw client.error(operation, RD_KAFKA_RESP_ERR__TIMED_OUT)
        }
        let answer = Answer(event: event)
        try check(operation, rd_kafka_event_error(event), rd_kafka_event_error_string(event))
        return answer
    }

    private func check(
        _ operation: String, _ code: rd_kafka_resp_err_t, _ reason: UnsafePointer<CChar>?
    ) throws(KafkaError) {
        guard code != RD_KAFKA_RESP_ERR_NO_ERROR else { return }
        throw client.error(operation, code, reason: reason.map { String(cString: $0) })
    }

    private func check(
        _ operation: String, _ results: UnsafeMutablePointer<OpaquePointer?>?, _ count: Int
    ) throws(KafkaError) {
        for result in UnsafeBufferPointer(start: results, count: count) {
            try check(
                "\(operation) \(String(cString: rd_kafka_topic_result_name(result)))",
                rd_kafka_topic_result_error(result), rd_kafka_topic_result_error_string(result))
        }
    }
}
