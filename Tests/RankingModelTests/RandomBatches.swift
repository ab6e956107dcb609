// Small random networks and batches, for tests that need no golden numbers.

import DeterministicMath
import Tensors

@testable import RankingModel

/// A configuration in which every part is small and present.
func smallConfiguration() -> ModelConfiguration {
    var c = ModelConfiguration(M: 3)
    (c.d, c.d_id, c.d_sp, c.d_ctx, c.H) = (8, 6, 4, 3, 10)
    (c.E, c.e1, c.e2, c.t) = (3, 7, 5, 4)
    (c.n_user, c.n_item, c.n_query, c.text_dim) = (6, 12, 5, 12)
    c.item_sparse = [ModelConfiguration.Field("genres", 5), ModelConfiguration.Field("tags", 9)]
    c.user_sparse = [ModelConfiguration.Field("profile", 7)]
    c.ctx = [ModelConfiguration.Field("position", 4)]
    c.n_dense = 2
    c.n_min = 2
    c.din_h = 6
    (c.ple_sp, c.ple_sh, c.star_aux) = (2, 2, 4)
    return c
}

/// Weights that leave every bias and scale away from its special first value.
func perturbedParameters(_ c: ModelConfiguration, seed: UInt64) -> Parameters {
    let parameters = Parameters(c)
    parameters.initialize(seed: seed)
    var random = Random(seed: seed + 100)
    parameters.forEachTensor { name, shape, values in
        if Parameters.isBuffer(name) { return }
        for i in 0..<shape.reduce(1, *) { values[i] += Float(random.normal()) * 0.15 }
    }
    return parameters
}

/// A batch with missing texts, unknown ids, empty bags and histories, and rows without a query.
func randomBatch(
    _ c: ModelConfiguration, rows: Int, seed: UInt64, texts: Int = 9
) -> (Batch, Block) {
    var random = Random(seed: seed)
    let batch = Batch(c)
    func bag(_ bags: inout Bags, _ limit: Int) {
        for _ in 0..<random.below(4) { bags.ids.append(Int32(random.below(limit))) }
        bags.close()
    }
    for _ in 0..<rows {
        let m = random.below(c.M)
        batch.domain.append(Int32(m))
        batch.userID.append(Int32(random.below(c.n_user)))
        batch.itemID.append(Int32(random.below(c.n_item)))
        batch.itemText.append(random.chance(0.25) ? -1 : Int32(random.below(texts)))
        let hasQuery = m != 1 && random.chance(0.8)
        batch.queryPresent.append(hasQuery)
        batch.queryID.append(Int32(random.below(c.n_query)))
        batch.queryText.append(random.chance(0.3) ? -1 : Int32(random.below(texts)))
        for _ in 0..<random.below(5) {
            batch.historyID.append(Int32(random.below(c.n_item)))
            batch.historyText.append(random.chance(0.3) ? -1 : Int32(random.below(texts)))
        }
        batch.historyOffsets.append(Int32(batch.historyID.count))
        for f in c.item_sparse.indices { bag(&batch.itemSparse[f], c.item_sparse[f].rows) }
        for f in c.user_sparse.indices { bag(&batch.userSparse[f], c.user_sparse[f].rows) }
        for f in c.ctx.indices { batch.context[f].append(Int32(random.below(c.ctx[f].rows))) }
        for _ in 0..<c.n_dense { batch.dense.append(Float(random.normal()) * 0.5) }
        for task in c.tasks {
            let grade = task == .relevance ? random.uniform() : random.chance(0.4) ? 1 : 0
            batch.labels.append(Float(grade))
        }
    }
    let block = Block(count: texts * c.text_dim + 16)
    for i in 0..<texts * c.text_dim { block.base[i] = Float(random.normal()) * 0.3 }
    batch.texts = TextStore(block.base, rows: texts, width: c.text_dim)
    return (batch, block)
}
