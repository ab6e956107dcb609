// Whether the fleet's topics are there, as the contracts say, and whether its rights suffice.

import Contracts
import EmbeddedFleet
import KafkaTransactions

/// The fleet's topics as the cluster shows them to us.
struct TopicsFound {
    /// Of the topics that can be seen.
    private(set) var partitions: [Topic: Int] = [:]
    private(set) var descriptions: [TopicDescription] = []
    /// Sentences about topics that we may not see.
    private(set) var refused: [String] = []
    /// Topics whose settings are kept from us.
    private(set) var hidden: [String] = []
    /// Something else that went wrong.
    private(set) var failures: [String] = []

    init(_ fleet: KafkaFleet, _ admin: Admin) {
        for topic in Topic.allCases {
            let name = fleet.topics[topic]
            do {
                partitions[topic] = try admin.partitionCount(ofTopic: name)
            } catch  where error.name == "TOPIC_AUTHORIZATION_FAILED" {
                refused.append(name)
                continue
            } catch  where error.name == "UNKNOWN_TOPIC_OR_PART" {
                continue
            } catch {
                failures.append("\(error)")
                continue
            }
            do {
                descriptions += try admin.describe(topics: [name])
            } catch {
                hidden.append(name)
                descriptions.append(
                    TopicDescription(
                        name: name, partitions: partitions[topic]!, replicas: 0, settings: [:]))
            }
        }
    }

    /// A setting of a topic; nil where it is kept from us.
    func setting(_ key: String, of topic: String) -> String? {
        descriptions.first { $0.name == topic }?.settings[key]?.value
    }

    func finding(_ fleet: KafkaFleet) -> Finding {
        guard failures.isEmpty else {
            return Finding("topics", .failed, Finding.list(failures))
        }
        guard refused.isEmpty else {
            return Finding(
                "topics", .failed, "no right to describe \(Finding.list(refused))",
                "allow Describe (Read or Write include it) on the topics of the fleet; see ops/README.md"
            )
        }
        let differences = fleet.differences(from: descriptions)
        var failed: [String] = []
        var warnings: [String] = []
        for difference in differences {
            switch difference {
            case .missing, .partitions: failed.append(difference.description)
            case .setting(let topic, _, _, _) where hidden.contains(topic.name): break
            // A topic of states that is not compacted grows for ever or forgets.
            case .setting(_, "cleanup.policy", _, _): failed.append(difference.description)
            case .setting: warnings.append(difference.description)
            }
        }
        if descriptions.contains(where: { $0.replicas > 1 }) {
            for topic in descriptions where topic.replicas == 1 {
                warnings.append("\(topic.name) has one replica, others have more")
            }
        }
        if !failed.isEmpty {
            return Finding(
                "topics", .failed, Finding.list(failed + warnings),
                "coldstream topics plan shows what apply would change; a number of partitions "
                    + "cannot be changed without keys going elsewhere: name the number that is there in "
                    + "topics.NAME.partitions")
        }
        if !warnings.isEmpty {
            return Finding(
                "topics", .warning, Finding.list(warnings),
                "set it with Kafka's kafka-configs, or coldstream topics apply")
        }
        if !hidden.isEmpty {
            return Finding(
                "topics", .warning,
                "\(descriptions.count) topics with the right partitions; their settings are kept from us",
                "allow DescribeConfigs on the topics to have cleanup and retention checked")
        }
        return Finding(
            "topics", .ok,
            "\(descriptions.count) topics with partitions, cleanup and retention of the contracts")
    }
}

extension Doctor {
    /// What workers need and can be tried without disturbing them.
    func rights(_ topics: TopicsFound) throws -> Finding {
        var missing: [String] = []
        func attempt(_ right: String, _ body: () throws -> Void) throws {
            do { try body() } catch let error as KafkaError
                where error.name.hasSuffix("AUTHORIZATION_FAILED")
            {
                missing.append(right)
            }
        }
        for (role, topic) in KafkaFleet.inputs {
            let group = "\(fleet.settings.fleet).\(role)"
            try attempt("Read on group \(group)") {
                _ = try Offsets(fleet.client, group: group)
                    .committed([TopicPartition(fleet.topics[topic], 0)])
            }
        }
        let reader = try Offsets(fleet.client, group: doctorGroup)
        for topic in [Topic.catalog, .events, .domainLog, .checkpoints] {
            let place = TopicPartition(fleet.topics[topic], 0)
            try attempt("Read on topic \(place.topic)") {
                let end = try reader.offsets(of: [place])[place]!.end
                _ = try reader.firstRecords(from: [Position(place, end)])
            }
        }
        try attempt("Write on transactional id \(fleet.settings.fleet). (prefix)") {
            let producer = try TransactionalProducer(transactions)
            try producer.connect()
            try producer.initialise()
        }
        guard missing.isEmpty else {
            return Finding(
                "rights", .failed, "missing: \(Finding.list(missing))",
                "ops/README.md has the rights that each role needs")
        }
        return Finding(
            "rights", .ok,
            "topics and groups can be read, the transactional ids of the fleet can be taken")
    }

    var doctorGroup: String { "\(fleet.settings.fleet).doctor" }

    var transactions: TransactionalProducerSettings {
        TransactionalProducerSettings(
            client: fleet.client, transactionalID: "\(fleet.settings.fleet).doctor.0")
    }

    /// Whether the caps fit.
    func memory(_ topics: TopicsFound?) -> Finding {
        let limit = fleet.settings.value("memory_bytes").value?.integer
        let bytes = limit ?? around.memoryLimit
        func partitions(_ topic: Topic) -> Int {
            topics?.partitions[topic] ?? fleet.wantedTopics.first { $0.topic == topic }!.partitions
        }
        var layout = FleetLayout()
        layout.domainLogPartitions = partitions(.domainLog)
        let roles: [(name: String, each: Int64, partitions: Int)] = [
            (
                "enrich", FleetMemory.bytes(fleet.settings, layout, "enrich"), partitions(.events)
            ),
            (
                "finetune",
                FleetMemory.bytes(fleet.settings, layout, "finetune")
                    / Int64(layout.domainLogPartitions),
                partitions(.domainLog)
            ),
        ]
        let sums = roles.map {
            "\($0.name) \(mebibytes($0.each)) a partition of \($0.partitions)"
        }.joined(separator: ", ")
        let finding = "caps allow \(sums); a process may plan with \(mebibytes(bytes))"
        let processes = roles.map { role -> (String, Int) in
            let held = max(0, Int(bytes / max(1, role.each)))
            return (role.name, held == 0 ? 0 : (role.partitions + held - 1) / held)
        }
        if processes.contains(where: { $0.1 == 0 }) {
            return Finding(
                "memory", .failed, finding,
                "lower the caps (users_max, items_max, open_impressions_max …), or give more memory"
            )
        }
        guard processes.allSatisfy({ $0.1 == 1 }) else {
            let counts = processes.map { "\($0.1) of \($0.0)" }.joined(separator: ", ")
            return Finding(
                "memory", .warning, finding,
                "run at least so many processes on machines like this one: \(counts); or lower the caps"
            )
        }
        return Finding("memory", .ok, finding)
    }

    private func mebibytes(_ bytes: Int64) -> String { "\((bytes + (1 << 20) - 1) >> 20) MiB" }
}
