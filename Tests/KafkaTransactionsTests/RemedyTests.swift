import CRdKafka
import Testing

@testable import KafkaTransactions

/// What every code of librdkafka 2.0.2 (and three newer ones) calls for: where repeating is harmless, and inside a
/// transaction.
private let table:
    [(remedies: (harmless: KafkaError.Remedy, harmful: KafkaError.Remedy), names: String)] = [
        (
            (.standBack, .standBack),
            "_FENCED PRODUCER_FENCED INVALID_PRODUCER_EPOCH FENCED_INSTANCE_ID"
        ),
        (
            (.fixSettings, .fixSettings),
            """
            _FS _INVALID_ARG _SSL _UNKNOWN_GROUP _UNKNOWN_PROTOCOL
            _NOT_IMPLEMENTED _AUTHENTICATION _UNSUPPORTED_FEATURE _NOT_CONFIGURED _AUTO_OFFSET_RESET
            OFFSET_OUT_OF_RANGE MSG_SIZE_TOO_LARGE OFFSET_METADATA_TOO_LARGE
            TOPIC_EXCEPTION RECORD_LIST_TOO_LARGE INVALID_REQUIRED_ACKS INCONSISTENT_GROUP_PROTOCOL
            INVALID_GROUP_ID INVALID_SESSION_TIMEOUT INVALID_COMMIT_OFFSET_SIZE
            TOPIC_AUTHORIZATION_FAILED GROUP_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED
            INVALID_TIMESTAMP UNSUPPORTED_SASL_MECHANISM ILLEGAL_SASL_STATE UNSUPPORTED_VERSION
            TOPIC_ALREADY_EXISTS INVALID_PARTITIONS INVALID_REPLICATION_FACTOR
            INVALID_REPLICA_ASSIGNMENT INVALID_CONFIG INVALID_REQUEST UNSUPPORTED_FOR_MESSAGE_FORMAT
            POLICY_VIOLATION INVALID_TRANSACTION_TIMEOUT TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            SECURITY_DISABLED SASL_AUTHENTICATION_FAILED DELEGATION_TOKEN_AUTH_DISABLED
            DELEGATION_TOKEN_NOT_FOUND DELEGATION_TOKEN_OWNER_MISMATCH
            DELEGATION_TOKEN_REQUEST_NOT_ALLOWED DELEGATION_TOKEN_AUTHORIZATION_FAILED
            DELEGATION_TOKEN_EXPIRED INVALID_PRINCIPAL_TYPE NON_EMPTY_GROUP GROUP_ID_NOT_FOUND
            LISTENER_NOT_FOUND TOPIC_DELETION_DISABLED UNSUPPORTED_COMPRESSION_TYPE
            GROUP_MAX_SIZE_REACHED GROUP_SUBSCRIBED_TO_TOPIC INVALID_RECORD RESOURCE_NOT_FOUND
            DUPLICATE_RESOURCE UNACCEPTABLE_CREDENTIAL _LOG_TRUNCATION
            UNKNOWN_TOPIC_ID
            """
        ),
        // Perhaps unknown for a moment only: the next start asks with patience.
        ((.fixSettings, .restart), "_UNKNOWN_TOPIC _UNKNOWN_PARTITION UNKNOWN_TOPIC_OR_PART"),
        (
            (.retry, .restart),
            """
            _DESTROY_BROKER _TRANSPORT _RESOLVE _MSG_TIMED_OUT _ALL_BROKERS_DOWN _TIMED_OUT _QUEUE_FULL _ISR_INSUFF
            _NODE_UPDATE _WAIT_COORD _IN_PROGRESS _PREV_IN_PROGRESS _TIMED_OUT_QUEUE _WAIT_CACHE _INTR
            _PARTIAL _RETRY UNKNOWN LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION REQUEST_TIMED_OUT
            BROKER_NOT_AVAILABLE REPLICA_NOT_AVAILABLE STALE_CTRL_EPOCH NETWORK_EXCEPTION
            COORDINATOR_LOAD_IN_PROGRESS COORDINATOR_NOT_AVAILABLE NOT_COORDINATOR NOT_ENOUGH_REPLICAS
            NOT_ENOUGH_REPLICAS_AFTER_APPEND REBALANCE_IN_PROGRESS NOT_CONTROLLER
            CONCURRENT_TRANSACTIONS TRANSACTION_COORDINATOR_FENCED KAFKA_STORAGE_ERROR
            REASSIGNMENT_IN_PROGRESS FETCH_SESSION_ID_NOT_FOUND INVALID_FETCH_SESSION_EPOCH
            FENCED_LEADER_EPOCH UNKNOWN_LEADER_EPOCH STALE_BROKER_EPOCH OFFSET_NOT_AVAILABLE
            PREFERRED_LEADER_NOT_AVAILABLE ELIGIBLE_LEADERS_NOT_AVAILABLE UNSTABLE_OFFSET_COMMIT
            THROTTLING_QUOTA_EXCEEDED
            """
        ),
        (
            (.restart, .restart),
            """
            _BAD_MSG _BAD_COMPRESSION _DESTROY _FAIL _CRIT_SYS_RESOURCE _PARTITION_EOF
            _EXISTING_SUBSCRIPTION _ASSIGN_PARTITIONS _REVOKE_PARTITIONS _CONFLICT _STATE _NO_OFFSET
            _OUTDATED _KEY_SERIALIZATION _VALUE_SERIALIZATION _KEY_DESERIALIZATION
            _VALUE_DESERIALIZATION _READ_ONLY _NOENT _UNDERFLOW _INVALID_TYPE _PURGE_QUEUE
            _PURGE_INFLIGHT _FATAL _INCONSISTENT _GAPLESS_GUARANTEE _MAX_POLL_EXCEEDED _UNKNOWN_BROKER
            _APPLICATION _ASSIGNMENT_LOST _NOOP NO_ERROR INVALID_MSG INVALID_MSG_SIZE
            ILLEGAL_GENERATION UNKNOWN_MEMBER_ID OUT_OF_ORDER_SEQUENCE_NUMBER DUPLICATE_SEQUENCE_NUMBER
            INVALID_TXN_STATE INVALID_PRODUCER_ID_MAPPING OPERATION_NOT_ATTEMPTED LOG_DIR_NOT_FOUND
            UNKNOWN_PRODUCER_ID MEMBER_ID_REQUIRED ELECTION_NOT_NEEDED NO_REASSIGNMENT_IN_PROGRESS
            INCONSISTENT_VOTER_SET INVALID_UPDATE_VERSION FEATURE_UPDATE_FAILED
            PRINCIPAL_DESERIALIZATION_FAILURE
            """
        ),
    ]

private func remedies(_ name: String) -> (harmless: KafkaError.Remedy, harmful: KafkaError.Remedy)?
{
    table.first { $0.names.split { $0 == " " || $0 == "\n" }.contains(Substring(name)) }?.remedies
}

private func allCodes() -> [(code: Int32, name: String)] {
    var descriptions: UnsafePointer<rd_kafka_err_desc>?
    var count = 0
    rd_kafka_get_err_descs(&descriptions, &count)
    return UnsafeBufferPointer(start: descriptions, count: count)
        .filter { $0.name != nil && $0.desc != nil }
        .map { ($0.code.rawValue, String(cString: $0.name)) }
}

@Suite struct RemedyTests {
    @Test func `every code of librdkafka has the remedy that the table says`() {
        let codes = allCodes()
        #expect(codes.count >= 150)
        for (code, name) in codes {
            // Codes that came after 2.0.2 call for a restart, the safe one.
            let expected = remedies(name) ?? (.restart, .restart)
            #expect(
                KafkaError.Remedy(code: code, isFatal: false, isRetriable: false, .harmless)
                    == expected.harmless, "\(name) where repeating is harmless")
            #expect(
                KafkaError.Remedy(code: code, isFatal: false, isRetriable: false, .harmful)
                    == expected.harmful, "\(name) in a transaction")
        }
    }

    @Test
    func `a broker that was replaced is asked again, whether or not this librdkafka can say so`() {
        // _DESTROY_BROKER, which came after 2.0.2.
        func remedy(_ repetition: Repetition) -> KafkaError.Remedy {
            KafkaError.Remedy(code: -137, isFatal: false, isRetriable: false, repetition)
        }
        #expect(remedy(.harmless) == .retry)
        #expect(remedy(.harmful) == .restart)
    }

    @Test func `the table names no code twice and none that librdkafka does not have`() {
        let known = Set(allCodes().map(\.name))
        let listed = table.flatMap { $0.names.split { $0 == " " || $0 == "\n" }.map(String.init) }
        #expect(Set(listed).count == listed.count)
        let newer: Set = ["_LOG_TRUNCATION", "UNKNOWN_TOPIC_ID", "_DESTROY_BROKER"]
        #expect(listed.filter { !known.contains($0) && !newer.contains($0) } == [])
        let missing = allCodes().filter {
            $0.code < 98 && !(-139 ... -101).contains($0.code) && remedies($0.name) == nil
        }
        #expect(missing.map(\.name) == [])
    }

    @Test func `whatever is fatal is never tried again`() {
        for (code, name) in allCodes() {
            let remedy = KafkaError.Remedy(code: code, isFatal: true, isRetriable: true, .harmless)
            #expect(remedy != .retry, "\(name)")
        }
    }

    @Test func `what librdkafka calls retriable is tried again outside transactions only`() {
        let code = RD_KAFKA_RESP_ERR__STATE.rawValue
        #expect(
            KafkaError.Remedy(code: code, isFatal: false, isRetriable: true, .harmless) == .retry)
        #expect(
            KafkaError.Remedy(code: code, isFatal: false, isRetriable: true, .harmful) == .restart)
    }

    @Test func `an error says what was tried, what happened and what now`() {
        let error = KafkaError("commit a transaction", RD_KAFKA_RESP_ERR__FENCED, .harmful)
        #expect(
            error.description == """
                kafka could not commit a transaction: Local: This instance has been fenced by a newer \
                instance (_FENCED); another process runs in this slot: exit and do not come back at once
                """)
    }
}

@Suite struct LibraryVersionTests {
    @Test func `the three versions with known defects are refused with a sentence`() {
        for version in [LibraryVersion(2, 5, 0), LibraryVersion(2, 6, 0), LibraryVersion(2, 10, 0)]
        {
            let refusal = version.refusal ?? ""
            #expect(refusal.hasPrefix("librdkafka \(version) "), "\(version)")
            #expect(refusal.contains("install 2."), "\(version)")
        }
        #expect(LibraryVersion(1, 9, 2).refusal?.contains("older") == true)
    }

    @Test(arguments: [
        (2, 0, 2), (2, 4, 0), (2, 5, 3), (2, 6, 1), (2, 8, 0), (2, 10, 1), (2, 16, 0), (3, 0, 0),
    ])
    func `their neighbours are not`(major: Int, minor: Int, patch: Int) {
        #expect(LibraryVersion(major, minor, patch).refusal == nil)
    }

    @Test func `the running version is read from librdkafka's own number`() {
        #expect(LibraryVersion(encoded: 0x0200_02FF) == LibraryVersion(2, 0, 2))
        #expect(LibraryVersion(encoded: 0x020A_0100) == LibraryVersion(2, 10, 1))
        #expect(
            "\(LibraryVersion.running)"
                == String(cString: rd_kafka_version_str()).prefix { $0 != "-" })
    }
}
