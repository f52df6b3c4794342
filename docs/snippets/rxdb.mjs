// Syncing an RxDB (17) app with Fieldstone. Copy this file; tests/clients runs it as it is.
//
//   import { replicateRxCollection } from 'rxdb/plugins/replication'
//   import { Subject } from 'rxjs'
//
//   const described = await (await request('/sync/schema')).json()
//   await database.addCollections(fieldstoneCollections(described, ['cases', 'goals', 'notes', 'sync_issues']))
//   const sync = fieldstoneSync({ database, request, replicateRxCollection, Subject, erase: () => database.remove() })
//   await sync.now()   // for a button; commits of others arrive by themselves
//   await sync.stop()
//
// `request(path, options)` is the app's own fetch with the access token on it, refreshed when it is spent.

const TYPES = { string: 'string', number: 'number', boolean: 'boolean' }

// Collections for these tables. Only the id is required: a row that is gone comes as its id and nothing else.
export function fieldstoneCollections(described, names) {
  const collections = {}
  for (const { name, columns } of described.tables.filter((table) => names.includes(table.name))) {
    const properties = { id: { type: 'string', maxLength: 64 } }
    for (const column of columns) {
      const types = column.holds === 'json' ? ['array', 'object'] : [TYPES[column.holds === 'instant' ? 'string' : column.type]]
      properties[column.name] = { type: [...types, 'null'] }
    }
    collections[name] = { schema: { version: 0, primaryKey: 'id', type: 'object', properties, required: ['id'] } }
  }
  return collections
}

export function fieldstoneSync({
  database,
  request,
  replicateRxCollection,
  Subject,
  erase,
  batchSize = 200,
  retryTime = 5000,
  spread = 3000,
}) {
  const pokes = new Subject()
  const replications = {}
  const listening = new AbortController()

  for (const [table, collection] of Object.entries(database.collections)) {
    replications[table] = replicateRxCollection({
      collection,
      replicationIdentifier: `fieldstone-${table}`,
      live: true,
      retryTime,
      pull: {
        batchSize,
        stream$: pokes.asObservable(),
        async handler(checkpoint, limit) {
          const page = await ask(`/sync/rxdb/${table}/pull?cursor=${checkpoint?.cursor ?? ''}&limit=${limit}`)
          // The server cannot tell what was deleted since this checkpoint: what is not in the page is gone.
          if (page.replace) page.documents.push(...(await strays(collection, page.documents)))
          return page
        },
      },
      push: {
        batchSize,
        async handler(rows) {
          // A new case first, then what belongs to it. (Otherwise the server keeps the child until the case comes.)
          if (table !== 'cases') await replications.cases?.awaitInSync()
          return ask(`/sync/rxdb/${table}/push`, { method: 'POST', body: JSON.stringify(rows) })
        },
      },
    })
  }
  listen()

  return {
    replications,
    async now() {
      for (const replication of Object.values(replications)) replication.reSync()
      await this.done()
    },
    async done() {
      for (const replication of Object.values(replications)) await replication.awaitInSync()
    },
    async stop() {
      listening.abort()
      await Promise.all(Object.values(replications).map((replication) => replication.cancel()))
    },
  }

  async function strays(collection, documents) {
    const sent = new Set(documents.map(({ id }) => id))
    const held = await collection.find().exec()
    return held.filter(({ id }) => !sent.has(id)).map(({ id }) => ({ id, _deleted: true }))
  }

  // Whatever is thrown here, RxDB asks the same again after retryTime.
  async function ask(path, options) {
    const response = await request(path, options)
    if (response.ok) return response.json()
    const problem = await response.json().catch(() => ({}))
    if (problem.code === 'device_wiped') await erase()
    throw Object.assign(new Error(`${response.status} ${problem.code}`), { status: response.status })
  }

  // A poke says that something was committed; what it was comes with the pull. A thousand phones hear it at once, so
  // each waits a while of its own. The stream begins with a poke: what was committed while it was down is not missed.
  async function listen() {
    let waiting
    while (!listening.signal.aborted) {
      try {
        const response = await request('/sync/live', { signal: listening.signal })
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
        for (let part = await reader.read(); !part.done; part = await reader.read()) {
          if (!part.value.includes('event: poke')) continue
          waiting ??= setTimeout(() => {
            waiting = undefined
            pokes.next('RESYNC')
          }, Math.random() * spread)
        }
      } catch {
        // No network: wait and try again.
      }
      await new Promise((resolve) => setTimeout(resolve, retryTime))
    }
    clearTimeout(waiting)
  }
}
