// Somebody with an account and a device.
export const PASSWORD = 'fieldstone-demo'

export class Person {
  constructor(base, email) {
    Object.assign(this, { base, email, deviceId: `phone-${crypto.randomUUID()}` })
  }

  async logsIn(password = PASSWORD) {
    const answer = await this.post('/auth/login', {
      email: this.email,
      password,
      device_id: this.deviceId,
      device_name: 'Test phone',
    })
    this.token = answer.access_token
    this.refreshToken = answer.refresh_token
    this.user = answer.user
    return this
  }

  fetch(path, options = {}) {
    const headers = { ...options.headers }
    if (this.token) headers.authorization = `Bearer ${this.token}`
    return fetch(`${this.base}/api/v1${path}`, { ...options, headers })
  }

  // By the refresh token, as a device that was shut out says farewell.
  lastFetch(path, options = {}) {
    const headers = { ...options.headers, authorization: `Bearer ${this.refreshToken}` }
    return fetch(`${this.base}/api/v1${path}`, { ...options, headers })
  }

  async json(path, options) {
    const response = await this.fetch(path, options)
    const text = await response.text()
    if (!response.ok) throw new Error(`${this.email}: ${options?.method ?? 'GET'} ${path}: ${response.status} ${text}`)
    return text ? JSON.parse(text) : null
  }

  get(path) {
    return this.json(path)
  }

  post(path, body) {
    return this.json(path, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    })
  }

  // A merge patch on the version just read.
  async patch(path, body) {
    const read = await this.fetch(path)
    return this.json(path, {
      method: 'PATCH',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', 'if-match': read.headers.get('etag') },
    })
  }
}

// What a server says to a push or an offer of more rows than it takes at once; nothing where it takes them.
export function refusesMoreThan(most, path, options) {
  if (!options?.body || !/^\/sync(\?|\/(salvage|quarantine|farewell))/.test(path)) return undefined
  const lists = Object.values(JSON.parse(options.body)).flatMap((table) => Object.values(table))
  const rows = lists.reduce((sum, list) => sum + list.length, 0)
  if (rows <= most) return undefined
  return Response.json({ code: 'too_large' }, { status: 413 })
}
