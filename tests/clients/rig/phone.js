// A phone: the unmodified WatermelonDB with its SQLite adapter, over a schema that the server describes.
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const { Database, Model, Q, appSchema, tableSchema } = require('@nozbe/watermelondb')
const { default: SQLiteAdapter } = require('@nozbe/watermelondb/adapters/sqlite')
const { date, readonly } = require('@nozbe/watermelondb/decorators')
const { addColumns, createTable, schemaMigrations } = require('@nozbe/watermelondb/Schema/migrations')
const { synchronize, hasUnsyncedChanges } = require('@nozbe/watermelondb/sync')
const { default: logger } = require('@nozbe/watermelondb/utils/common/logger')
const { setGenerator } = require('@nozbe/watermelondb/utils/common/randomId')

// The library reports what looks wrong to it on the console and goes on; here that is kept and asked for.
export const complaints = []
logger.log = () => {}
logger.warn = (...said) => complaints.push(said.join(' '))
logger.error = (...said) => complaints.push(said.join(' '))

// Row ids that sort by time, as docs/sync.md advises.
export function uuidv7() {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  let ms = Date.now()
  for (let at = 5; at >= 0; at--, ms = Math.floor(ms / 256)) bytes[at] = ms % 256
  bytes[6] = 0x70 | (bytes[6] & 0x0f)
  bytes[8] = 0x80 | (bytes[8] & 0x3f)
  const hex = Buffer.from(bytes).toString('hex')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
setGenerator(uuidv7)

// As `@readonly @date('created_at') createdAt` and its sister do in an app with decorators.
function keepsStamps(model) {
  for (const [name, column] of [
    ['createdAt', 'created_at'],
    ['updatedAt', 'updated_at'],
  ]) {
    const field = readonly(model.prototype, name, date(column)(model.prototype, name, { initializer: null }))
    Object.defineProperty(model.prototype, name, field)
  }
}

function steps({ toVersion, steps }) {
  return {
    toVersion,
    steps: steps.map(({ add, ...what }) =>
      add === 'table' ? createTable({ name: what.table, columns: what.columns }) : addColumns(what),
    ),
  }
}

export class Phone {
  // `described` is what GET /sync/schema answered, or what an app makes of it; `file` is where the phone keeps its
  // database. `migrations` are those of an app that has grown; with `stamps` its models keep `created_at` and
  // `updated_at` by themselves, as those with such fields do.
  static async of(person, described, file, { migrations, stamps = false } = {}) {
    const tables = described.tables.map(({ name, columns }) =>
      tableSchema({
        name,
        columns: columns.map((column) => ({ name: column.name, type: column.type, isOptional: column.optional })),
      }),
    )
    const adapter = new SQLiteAdapter({
      schema: appSchema({ version: described.version, tables }),
      migrations: migrations && schemaMigrations({ migrations: migrations.map(steps) }),
      dbName: file,
      jsi: false,
    })
    await adapter.initializingPromise
    const modelClasses = described.tables.map(
      ({ name }) =>
        class extends Model {
          static table = name
        },
    )
    if (stamps) for (const model of modelClasses) keepsStamps(model)
    const phone = new Phone(person, described, new Database({ adapter, modelClasses }))
    return Object.assign(phone, { file, migrations })
  }

  // The same phone after an update of the app.
  isUpdated(described, migrations) {
    return Phone.of(this.person, described, this.file, { migrations })
  }

  constructor(person, described, database) {
    Object.assign(this, { person, described, database })
    this.pulled = null // the last reply, as it came
    this.migration = null // what the library told of the app's growth last
  }

  // synchronize() as the documentation's snippet has it. `between` runs after the pull and before the push;
  // `loses` makes the answer of the push get lost on its way.
  async syncsOnce({ between, loses = false, more = '' } = {}) {
    const { person } = this
    await synchronize({
      database: this.database,
      sendCreatedAsUpdated: true,
      migrationsEnabledAtVersion: this.migrations && 1,
      pullChanges: async ({ lastPulledAt, schemaVersion, migration }) => {
        this.migration = migration
        const query = `last_pulled_at=${lastPulledAt}&schema_version=${schemaVersion}&migration=${encodeURIComponent(
          JSON.stringify(migration),
        )}${more}`
        const response = await person.fetch(`/sync?${query}`)
        if (!response.ok) throw new Error(await response.text())
        this.pulled = await response.json()
        await between?.()
        return this.pulled
      },
      pushChanges: async ({ changes, lastPulledAt }) => {
        // No content type is named: fetch then says text/plain.
        const body = JSON.stringify(changes)
        const response = await person.fetch(`/sync?last_pulled_at=${lastPulledAt}`, { method: 'POST', body })
        if (!response.ok) throw Object.assign(new Error(await response.text()), { status: response.status })
        const answer = await response.json()
        if (loses) throw new Error('the answer was lost')
        return answer
      },
    })
  }

  // As the documentation advises: once more after a conflict.
  async syncs(options) {
    try {
      await this.syncsOnce(options)
    } catch (error) {
      if (error.status !== 409) throw error
      await this.syncsOnce()
    }
  }

  // A pull alone.
  async pulls() {
    const { person } = this
    await synchronize({
      database: this.database,
      sendCreatedAsUpdated: true,
      pullChanges: async ({ lastPulledAt, schemaVersion }) => {
        const query = `last_pulled_at=${lastPulledAt}&schema_version=${schemaVersion}&migration=null`
        const response = await person.fetch(`/sync?${query}`)
        if (!response.ok) throw new Error(await response.text())
        return (this.pulled = await response.json())
      },
    })
    return this.pulled
  }

  hasUnsyncedChanges() {
    return hasUnsyncedChanges({ database: this.database })
  }

  // Makes a row here, under an id of the library's own unless one is given, and says its id.
  async creates(table, { id, ...columns }) {
    const record = await this.database.write(() =>
      this.database.get(table).create((row) => {
        if (id) row._raw.id = id
        for (const [name, value] of Object.entries(columns)) row._setRaw(name, value)
      }),
    )
    return record.id
  }

  async edits(table, id, columns) {
    const record = await this.database.get(table).find(id)
    await this.database.write(() =>
      record.update((row) => {
        for (const [name, value] of Object.entries(columns)) row._setRaw(name, value)
      }),
    )
  }

  async deletes(table, id) {
    const record = await this.database.get(table).find(id)
    await this.database.write(() => record.markAsDeleted())
  }

  // A row as the phone keeps it, or undefined.
  async row(table, id) {
    const [found] = await this.database.get(table).query(Q.where('id', id)).fetch()
    return found && { ...found._raw }
  }

  async ids(table) {
    return (await this.database.get(table).query().fetchIds()).sort()
  }

  // How many rows of which tables; tables without any are left out.
  async counts() {
    const counts = {}
    for (const { name } of this.described.tables) {
      const count = await this.database.get(name).query().fetchCount()
      if (count > 0) counts[name] = count
    }
    return counts
  }

  // Every row by table and id, without the library's two marks.
  async everything() {
    const all = {}
    for (const { name } of this.described.tables) {
      for (const { _raw } of await this.database.get(name).query().fetch()) {
        const { _status, _changed, ...row } = _raw
        ;(all[name] ??= {})[row.id] = row
      }
    }
    return all
  }
}
