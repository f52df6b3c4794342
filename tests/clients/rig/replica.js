// A device that replicates with the unmodified RxDB, by the published snippet, over a network that can fail.
import { createRxDatabase, getAssumedMasterState, getChangedDocumentsSince } from 'rxdb/plugins/core'
import { replicateRxCollection } from 'rxdb/plugins/replication'
import { getRxStorageMemory } from 'rxdb/plugins/storage-memory'
import { Subject } from 'rxjs'

import { fieldstoneCollections, fieldstoneSync } from '../../../docs/snippets/rxdb.mjs'
import { refusesMoreThan } from './person.js'
import { uuidv7 } from './phone.js'

// The open-source library opens 13 collections in one process: three devices with these are twelve.
const TABLES = ['cases', 'goals', 'notes', 'sync_issues']

export class Replica {
  static async of(person, { conflictHandler, tables = TABLES } = {}) {
    const described = await person.get('/sync/schema')
    const database = await createRxDatabase({
      name: `device${uuidv7().replaceAll('-', '')}`,
      storage: getRxStorageMemory(),
      multiInstance: false,
    })
    const collections = fieldstoneCollections(described, tables)
    if (conflictHandler) for (const collection of Object.values(collections)) collection.conflictHandler = conflictHandler
    await database.addCollections(collections)
    return Object.assign(new Replica(), { person, described, database, asked: [], online: true, most: Infinity, losing: 0, failing: 0, erased: false })
  }

  // Begins to replicate; `more` are options of the snippet.
  starts(more) {
    this.sync = fieldstoneSync({
      database: this.database,
      described: this.described,
      request: (path, options) => this.request(path, options),
      lastRequest: (path, options) => this.request(path, options, 'lastFetch'),
      erase: () => this.isErased(),
      appVersion: '2.0.1',
      ...{ replicateRxCollection, getAssumedMasterState, getChangedDocumentsSince, Subject },
      retryTime: 50,
      spread: 0,
      ...more,
    })
    return this
  }

  async isErased() {
    await this.database.remove()
    this.erased = true
  }

  async request(path, options, by = 'fetch') {
    if (!this.online) throw new Error('there is no network')
    this.asked.push(path)
    await this.before?.(path)
    if (path.endsWith('/farewell') && this.failing > 0) {
      this.failing -= 1
      if (this.slow) return Response.json({ code: 'body_too_slow' }, { status: 408 })
      throw new Error('the network failed')
    }
    const response = refusesMoreThan(this.most, path, options) ?? (await this.person[by](path, options))
    if (/\/push\b/.test(path) && this.losing > 0) {
      this.losing -= 1
      throw new Error('the answer was lost')
    }
    return response
  }

  // How often it asked for paths like this one.
  times(pattern) {
    return this.asked.filter((path) => pattern.test(path)).length
  }

  syncs() {
    return this.sync.now()
  }

  collection(table) {
    return this.database.collections[table]
  }

  async creates(table, columns) {
    const id = columns.id ?? uuidv7()
    await this.collection(table).insert({ id, ...columns })
    return id
  }

  async edits(table, id, columns) {
    const document = await this.collection(table).findOne(id).exec()
    await document.incrementalPatch(columns)
  }

  async deletes(table, id) {
    const document = await this.collection(table).findOne(id).exec()
    await document.incrementalRemove()
  }

  async row(table, id) {
    const document = await this.collection(table).findOne(id).exec()
    return document?.toJSON()
  }

  async rows(table) {
    return (await this.collection(table).find().exec()).map((document) => document.toJSON())
  }

  async ids(table) {
    return (await this.rows(table)).map(({ id }) => id).sort()
  }

  async close() {
    if (this.erased) return
    await this.sync?.stop()
    await this.database.close()
  }
}
